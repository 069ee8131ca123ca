# Errors in a row leave the memory of the backend flat, and an error of the server arrives whole.
#
# Two measures are taken inside the backend, in the middle of the work: what its memory contexts hold, and its private
# resident memory (RssAnon), which has the C++ heap too; shared buffers, which fill with the rows of the runs, are in neither.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no /proc/self/status here to read the memory from' unless -r '/proc/self/status';

my $server = PostgreSQL::Test::Cluster->new('memory');
$server->init;
$server->append_conf('postgresql.conf', q{
client_min_messages = error
log_min_messages = fatal
log_min_error_statement = panic
log_statement = none
autovacuum = off
max_wal_size = 4GB
});
$server->start;
$server->safe_psql('postgres', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id), created_at timestamp);
	INSERT INTO users (last_active) SELECT now() AT TIME ZONE 'UTC' - interval '100 days' FROM generate_series(1, 3);
	INSERT INTO carts (user_id) SELECT id FROM users;
	INSERT INTO cart_items (cart_id) SELECT id FROM carts;

	CREATE TABLE measured (step text, contexts bigint, private bigint);
	CREATE FUNCTION measure(step text) RETURNS void LANGUAGE sql AS $$
		INSERT INTO measured SELECT step, (SELECT sum(total_bytes) FROM pg_backend_memory_contexts),
			substring(pg_read_file('/proc/self/status') FROM 'RssAnon:\s*(\d+) kB')::bigint * 1024
	$$});

# Runs statements in one session, and claims that between the measures `warm` and `end` the memory grew by less than a bound.
sub stays_flat
{
	my ($title, $work, $repeats) = @_;
	my $bound = 1024 * 1024;
	$server->safe_psql('postgres', "TRUNCATE measured");
	$server->safe_psql('postgres', $work);
	for my $measure (qw(contexts private))
	{
		my $grown = $server->safe_psql('postgres', "SELECT (SELECT $measure FROM measured WHERE step = 'end') - (SELECT $measure FROM measured WHERE step = 'warm')");
		my $what = $measure eq 'contexts' ? 'the memory contexts' : 'the private memory';
		cmp_ok($grown, '<', $bound, "$title: $what grow by less than 1 MB over the last $repeats");
		note("$title: $what grew by $grown bytes");
	}
	return;
}

# A statement repeated in a DO block, each in a subtransaction whose error is caught and must have the given SQLSTATE.
sub caught_errors
{
	my ($call, $sqlstate, $repeats) = @_;
	my $warm = $repeats / 10;
	return qq{DO \$\$
		DECLARE raised integer := 0;
		BEGIN
			FOR i IN 1 .. $repeats LOOP
				BEGIN
					PERFORM $call;
				EXCEPTION WHEN SQLSTATE '$sqlstate' THEN raised := raised + 1;
				END;
				IF i = $warm THEN PERFORM measure('warm'); END IF;
			END LOOP;
			PERFORM measure('end');
			ASSERT raised = $repeats, 'only ' || raised || ' calls raised the error';
		END \$\$};
}

# A call repeated in a DO block, whose result must meet a condition over `said`, each in a transaction of its own where asked.
sub dictionaries
{
	my ($call, $condition, $repeats, %with) = @_;
	my $warm = $repeats / 10;
	my $before = $with{before} // '';
	my $after = $with{after} // '';
	return qq{DO \$\$
		DECLARE said jsonb; met integer := 0;
		BEGIN
			FOR i IN 1 .. $repeats LOOP
				$before
				said := $call;
				$after
				IF $condition THEN met := met + 1; END IF;
				IF i = $warm THEN PERFORM measure('warm'); END IF;
			END LOOP;
			PERFORM measure('end');
			ASSERT met = $repeats, 'only ' || met || ' results are as they must be';
		END \$\$};
}

sub runs
{
	my ($where) = @_;
	return $server->safe_psql('postgres', "SELECT count(*) FROM retention.runs WHERE $where");
}

# --- the measures themselves
$server->safe_psql('postgres', q{
	SELECT measure('warm');
	DO $$ BEGIN EXECUTE 'PREPARE held AS SELECT ' || quote_literal(repeat('x', 2 * 1024 * 1024)); END $$;
	SELECT measure('end')});
cmp_ok($server->safe_psql('postgres', "SELECT max($_) - min($_) FROM measured"), '>', 2 * 1024 * 1024, "2 MB that a session keeps are seen in the column \"$_\"")
  for qw(contexts private);

# --- errors of our own
stays_flat('100,000 errors of retention.apply, each caught', caught_errors(q{retention.apply('no such policy')}, '42704', 100_000), '90,000');
stays_flat('100,000 errors of retention.preview, each caught', caught_errors(q{retention.preview('inactive_carts', sample => -1)}, '22023', 100_000), '90,000');
is(runs('true'), 0, 'an error of a call that names no policy is no run');
stays_flat('100,000 error dictionaries', dictionaries('cleanup_inactive_carts(-1)', q{said ->> 'sqlstate' = '22023'}, 100_000), '90,000');
is(runs(q{NOT success AND sqlstate = '22023'}), 100_000, 'each error dictionary is a run in retention.runs');
$server->safe_psql('postgres', 'TRUNCATE retention.run CASCADE');
stays_flat('100,000 error dictionaries in one statement', q{
	SELECT count(*) FROM (SELECT CASE i WHEN 10000 THEN measure('warm')::text WHEN 100000 THEN measure('end')::text END,
			cleanup_inactive_carts(-1) AS said FROM generate_series(1, 100000) AS i OFFSET 0) AS s WHERE said ->> 'sqlstate' = '22023'}, '90,000');
$server->safe_psql('postgres', 'TRUNCATE retention.run CASCADE');

# --- errors of the server that pass through
$server->safe_psql('postgres', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE EXCEPTION 'this row stays' USING ERRCODE = 'KO001', DETAIL = 'It is needed.', HINT = 'Ask its keeper.',
			COLUMN = 'a_column', CONSTRAINT = 'a_constraint', DATATYPE = 'a_type', TABLE = 'a_table', SCHEMA = 'a_schema';
	END $$;
	CREATE TRIGGER refuse BEFORE DELETE ON cart_items FOR EACH ROW EXECUTE FUNCTION refuse()});
stays_flat('5,000 dictionaries of an error that a trigger raises (a whole run each, which takes too long for more)',
	dictionaries('cleanup_inactive_carts()', q{said ->> 'sqlstate' = 'KO001'}, 5_000), '4,500');
is($server->safe_psql('postgres', 'SELECT count(*) FROM cart_items'), 3, 'the rows that the trigger keeps are all there');
$server->safe_psql('postgres', q{
	SELECT retention.adopt_preset('inactive_carts');
	CREATE TRIGGER refuse BEFORE UPDATE ON retention.policy FOR EACH ROW EXECUTE FUNCTION refuse()});
stays_flat('5,000 errors that a trigger raises through retention.alter_policy, each caught',
	caught_errors(q{retention.alter_policy('inactive_carts', expire_after => '60 days')}, 'KO001', 5_000), '4,500');
stays_flat('5,000 errors of a condition that does not parse, each caught',
	caught_errors(q{retention.alter_policy('inactive_carts', condition => 'target.nothing = 1')}, '42703', 5_000), '4,500');

# --- whole
{
	my $said = decode_json($server->safe_psql('postgres', 'SELECT cleanup_inactive_carts()'));
	is($said->{success}, JSON::PP::false, 'the dictionary of an error of the server says that the run failed');
	is($said->{sqlstate}, 'KO001', 'the dictionary has the error\'s SQLSTATE');
	is($said->{message}, 'this row stays', 'the dictionary has the error\'s message');
	is($said->{detail}, 'It is needed.', 'the dictionary has the error\'s detail');
	is($said->{hint}, 'Ask its keeper.', 'the dictionary has the error\'s hint');
	my ($out, $err);
	$server->psql('postgres', "\\set VERBOSITY verbose\nSET client_min_messages = warning; SELECT cleanup_inactive_carts()", stdout => \$out, stderr => \$err);
	like($err, qr/WARNING:  KO001: .*this row stays/, 'the WARNING has the error\'s SQLSTATE and message');
	like($err, qr/^DETAIL:  It is needed\.$/m, 'the WARNING has the error\'s detail');
	like($err, qr/^HINT:  Ask its keeper\.$/m, 'the WARNING has the error\'s hint');
	is($server->safe_psql('postgres', q{SELECT sqlstate, message, error_detail FROM retention.runs ORDER BY id DESC LIMIT 1}), 'KO001|this row stays|It is needed.',
		'the row in retention.runs has the error\'s SQLSTATE, message and detail');
}
{
	# What a handler sees of an error that passes through a definition.
	$server->safe_psql('postgres', q{
		CREATE FUNCTION seen() RETURNS jsonb LANGUAGE plpgsql AS $$
		DECLARE state text; message text; detail text; hint text; context text; c text; k text; d text; t text; s text;
		BEGIN
			PERFORM retention.alter_policy('inactive_carts', expire_after => '60 days');
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
				context = PG_EXCEPTION_CONTEXT, c = COLUMN_NAME, k = CONSTRAINT_NAME, d = PG_DATATYPE_NAME, t = TABLE_NAME, s = SCHEMA_NAME;
			RETURN jsonb_build_object('SQLSTATE', state, 'message', message, 'detail', detail, 'hint', hint, 'context', context,
				'column', c, 'constraint', k, 'type', d, 'table', t, 'schema', s);
		END $$});
	my $seen = decode_json($server->safe_psql('postgres', 'SELECT seen()'));
	my %right = (SQLSTATE => 'KO001', message => 'this row stays', detail => 'It is needed.', hint => 'Ask its keeper.', column => 'a_column',
		constraint => 'a_constraint', type => 'a_type', table => 'a_table', schema => 'a_schema');
	is($seen->{$_}, $right{$_}, "an error of the server passes through a definition with its $_") for sort keys %right;
	like($seen->{context}, qr/^PL\/pgSQL function (?:public\.)?refuse\(\) line \d+ at RAISE$/m, 'an error of the server passes through a definition with the CONTEXT it came with');
	like($seen->{context}, qr/^SQL statement "UPDATE retention\.policy /m, 'its CONTEXT names the statement in which it was raised');
	my ($out, $err);
	$server->psql('postgres', q{SELECT retention.alter_policy('inactive_carts', expire_after => '60 days')}, stdout => \$out, stderr => \$err);
	like($err, qr/ERROR: .*this row stays\nDETAIL: .*\nHINT: .*\nCONTEXT: .*refuse\(\) line/, 'psql shows message, detail, hint and context');
	is($server->safe_psql('postgres', q{SELECT expire_after, version FROM retention.policies}), '90 days|1', 'G11 the policy is as it was before the error');
}

# --- success
$server->safe_psql('postgres', q{
	DROP TRIGGER refuse ON cart_items;
	DROP TRIGGER refuse ON retention.policy;
	TRUNCATE retention.run CASCADE; TRUNCATE cart_items});
stays_flat('2,000 runs that succeed, each committed', dictionaries('cleanup_inactive_carts()', q{(said ->> 'deleted_items')::int = 3}, 2_000,
		before => 'INSERT INTO cart_items (cart_id) SELECT id FROM carts;', after => 'COMMIT;'), '1,800');
is(runs('success AND affected = 3'), 2_000, 'each of these runs is in retention.runs');
stays_flat('4,000 previews', dictionaries('get_inactive_carts_preview()', q{(said ->> 'success')::boolean}, 4_000), '3,600');

$server->stop;
done_testing();

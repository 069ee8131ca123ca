# The runner with the real extension: the main job on a shop, from preview to status.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use Test::More;

my $server = new_server('extension');
$server->append_conf('postgresql.conf', "autovacuum = off\n");
$server->restart;
$server->safe_psql('postgres', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id),
		quantity integer NOT NULL CHECK (quantity > 0), created_at timestamp DEFAULT now());
	INSERT INTO users (last_active)
		SELECT CASE WHEN g <= 10 THEN now() AT TIME ZONE 'UTC' - interval '100 days'
		            WHEN g <= 15 THEN now() AT TIME ZONE 'UTC' - interval '80 days' END
		FROM generate_series(1, 20) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
	INSERT INTO cart_items (cart_id, quantity) SELECT c.id, n FROM carts AS c, generate_series(1, 3) AS n});

# How many items, carts and users there are.
sub counts
{
	return $server->safe_psql('postgres', q{SELECT (SELECT count(*) FROM cart_items), (SELECT count(*) FROM carts), (SELECT count(*) FROM users)});
}

# Runs the runner in the JSON format and gives its exit code and the lines' objects by policy.
sub report_of
{
	my ($arguments, %with) = @_;
	my ($code, $out, $err) = runner([ @$arguments, '--log-format=json' ], server => $server, %with);
	diag($err) if $err;
	return ($code, { map { $_->{policy} => $_ } map { decode_json($_) } lines($out) });
}

my $expected = $server->safe_psql('postgres', q{
	SELECT count(*) FROM cart_items AS i JOIN carts AS c ON c.id = i.cart_id JOIN users AS u ON u.id = c.user_id
	WHERE u.last_active < now() AT TIME ZONE 'UTC' - interval '90 days'});
is($expected, 30, 'the shop has items of inactive users');

{
	my ($code, $report) = report_of([ 'preview', 'inactive_carts' ]);
	is($code, 0, 'the preset is previewed with no configuration');
	my ($target) = grep { $_->{role} eq 'target' } @{ $report->{inactive_carts}{relations} };
	is($target->{expected_rows}, $expected, 'the preview expects the rows that plain SQL counts');
	is(counts(), '60|20|20', 'the preview changes nothing');
}
{
	# A run that is stopped in the middle: the trigger's sleep stands for any long statement.
	$server->safe_psql('postgres', q{
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN OLD; END $$;
		CREATE TRIGGER slow BEFORE DELETE ON cart_items FOR EACH ROW WHEN (OLD.id > 10) EXECUTE FUNCTION slow()});
	for my $signal (qw(INT TERM))
	{
		my $run = start_runner([ 'run', 'inactive_carts' ], server => $server);
		ok($server->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event = 'PgSleep')}), "the run is under way (SIG$signal)");
		kill $signal, $run->{pid};
		$run->{handle}->finish;
		is($? >> 8, 1, "SIG$signal ends the run with 1");
		like($run->{out}, qr/inactive_carts: failed: cancelled by SIG$signal/, "SIG$signal cancels the policy, and it is reported so");
		ok($server->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention')}), "SIG$signal leaves no session behind");
		is(counts(), '60|20|20', "SIG$signal leaves nothing half done");
	}
	$server->safe_psql('postgres', 'DROP TRIGGER slow ON cart_items');
}
{
	my ($code, $report) = report_of([ 'run', 'inactive_carts' ]);
	my $line = $report->{inactive_carts};
	is($code, 0, 'the preset runs with no configuration');
	is($line->{affected}, $expected, 'the run removes the rows that plain SQL counted');
	is(counts(), '30|20|20', 'the items of inactive users are gone; carts and users stay');
	is($line->{action}, 'delete', 'the report has the action');
	like($line->{$_}, timestamp_like(), "the report has the time \"$_\"") for qw(cutoff started finished);
	ok($line->{run_id} > 0, 'the report has the run\'s id');

	($code, $report) = report_of([ 'run', 'inactive_carts' ]);
	is($code, 0, 'a run with nothing to do is a success');
	is($report->{inactive_carts}{affected}, 0, 'a run with nothing to do removes nothing');
	ok($report->{inactive_carts}{run_id} > $line->{run_id}, 'each run has an id of its own');
}
{
	my ($code, $out, $err) = runner([ 'run', 'no_such_policy', 'inactive_carts' ], server => $server);
	is($code, 1, 'a policy that does not exist ends with 1');
	like($err, qr/no_such_policy.*SQLSTATE 42704/, 'a policy that does not exist is named, with its SQLSTATE');
	like($out, qr/ inactive_carts: ok: /, 'a policy that does not exist does not stop the others');
}
{
	my ($code, $report) = report_of(['status']);
	is($code, 0, 'status ends with 0');
	my $line = $report->{inactive_carts};
	ok($line, 'status shows the policy that has run');
	is($line->{action}, 'delete', 'status shows the action');
	like($line->{last_success}, timestamp_like(), 'status shows when the policy last succeeded');
	is($line->{paused}, JSON::PP::false, 'status shows that the policy is not paused');
}

# --- a shop large enough to be shared: several stretches of blocks for each of two connections
{
	$server->safe_psql('postgres', q{CREATE DATABASE large});
	$server->safe_psql('large', q{
		CREATE EXTENSION pg_retention;
		CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
		CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
		CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id));
		INSERT INTO users (last_active) SELECT now() AT TIME ZONE 'UTC' - CASE WHEN g % 2 = 0 THEN interval '100 days' ELSE interval '1 day' END FROM generate_series(1, 10000) AS g;
		INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
		INSERT INTO cart_items (cart_id) SELECT c.id FROM generate_series(1, 40) AS n, carts AS c ORDER BY n, c.id;
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN OLD; END $$});
	$server->safe_psql('large', 'VACUUM ANALYZE');
	my @large = (env => { PGDATABASE => 'large' });
	my $items = sub { return $server->safe_psql('large', 'SELECT count(*) FROM cart_items') };
	my $recorded = sub { return $server->safe_psql('large', qq{SELECT coalesce(string_agg($_[0], ' ' ORDER BY id), '') FROM retention.runs WHERE slices = 2}) };
	cmp_ok($server->safe_psql('large', q{SELECT pg_relation_size('cart_items') / 8192}), '>', 2 * 512, 'the shop\'s items fill several stretches of blocks');
	is($items->(), 400000, 'the shop has 400,000 items');

	# Each slice comes to a row whose deletion does not end: the first row of a stretch further on, seen by both.
	$server->safe_psql('large', q{CREATE TRIGGER slow BEFORE DELETE ON cart_items FOR EACH ROW WHEN (OLD.id > 150000) EXECUTE FUNCTION slow()});
	my $run = start_runner([ 'run', 'inactive_carts', '-j', 2, '--batch-rows', 5000, '--progress', '--log-format=json' ], server => $server, @large);
	my $asleep = q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event = 'PgSleep'};
	ok($server->poll_query_until('large', $asleep, 2), 'two slices of the policy are under way');
	$run->{handle}->pump until $run->{err} =~ /progress: policy "inactive_carts": +\d+ %, [1-9]\d+ rows, \d+ rows\/s/;
	pass('their progress is shown in one sum');
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'SIGINT ends both with 1');
	my ($line) = objects($run->{out});
	is_deeply([ @$line{qw(message stop_reason)} ], [ 'cancelled by SIGINT', 'cancelled' ], 'SIGINT cancels both, and it is reported so');
	cmp_ok($line->{affected}, '>', 0, 'both had committed batches');
	is($items->(), 400000 - $line->{affected}, 'what is reported as committed is gone, and nothing else');
	is($recorded->('stop_reason'), 'cancelled cancelled', 'both runs are recorded as cancelled');
	$server->safe_psql('large', 'DROP TRIGGER slow ON cart_items');

	my $left = $items->() - 200000;
	my ($code, $report) = report_of([ 'run', 'inactive_carts', '--max-rows', 1000, '-j', 2, '--vacuum', 'never' ], @large);
	$line = $report->{inactive_carts};
	is_deeply([ $code, @$line{qw(affected stop_reason)} ], [ 0, 1000, 'max_rows' ], '--max-rows is divided between the slices and ends them');

	my ($out, $err);
	($code, $out, $err) = runner([ 'run', 'inactive_carts', '-j', 2, '--log-format=json', '--max-rows-per-second', 100000000, '--batch-rows', 10000, '--no-strict', '--max-runtime', '1 h', '--sleep', '1 ms' ], server => $server, @large);
	($line, my $vacuum) = objects($out);
	is_deeply([ $code, $err, $line->{affected} ], [ 0, '', $left - 1000 ], 'two slices together remove the rest, each row once');
	is($items->(), 200000, 'the items of active users stay');
	is_deeply([ map { $_->{slice} } @{ $line->{slices} } ], [ 1, 2 ], 'both slices are told');
	is($server->safe_psql('large', 'SELECT sum(affected) FROM retention.ledger'), 200000, 'the ledger has all of it');
	is_deeply([ @$vacuum{qw(vacuum success)} ], [ 'public.cart_items', JSON::PP::true ], 'the target that lost half of its rows is vacuumed');
	is($server->safe_psql('large', q{SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'cart_items'}), 0, 'no dead rows are left in it');

	($code, $report) = report_of([ 'run', '--single-transaction', 'inactive_carts' ], @large);
	is_deeply([ $code, @{ $report->{inactive_carts} }{qw(affected batches)} ], [ 0, 0, 0 ], 'a run in one transaction finds nothing left');
}
{
	$server->safe_psql('large', q{
		CREATE TABLE notes (id serial PRIMARY KEY, at timestamptz NOT NULL);
		CREATE TABLE note_tags (note_id int NOT NULL REFERENCES notes (id), tag int);
		CREATE INDEX ON note_tags (note_id);
		INSERT INTO notes (at) SELECT now() - CASE WHEN g > 500 THEN interval '2 days' ELSE interval '1 hour' END FROM generate_series(1, 2000) AS g;
		INSERT INTO note_tags SELECT n.id, t FROM notes AS n, generate_series(1, 3) AS t;
		SELECT retention.add_policy('notes', 'notes', '1 day', 'at', dependents => 'cascade', run_order => 5);
		SELECT retention.add_policy('tags', 'note_tags', '1 hour', 'at', subject => 'notes', run_order => 7, condition => 'target.tag = 9')});
	my ($code, $out) = runner([ 'run', 'notes', 'tags', 'inactive_carts', '-j', 2, '--log-format=json' ], server => $server, env => { PGDATABASE => 'large' });
	my %line = map { ($_->{policy} // $_->{vacuum}) => $_ } objects($out);
	is($code, 0, 'policies with dependents run with jobs');
	is_deeply([ $line{notes}{affected}, $line{notes}{dependents} ], [ 1500, { 'public.note_tags' => 4500 } ], 'dependents are counted over the slices');
	is_deeply([ sort grep { /^public/ } keys %line ], [ 'public.note_tags', 'public.notes' ], 'dependents that were emptied are vacuumed too');
	cmp_ok($line{'public.note_tags'}{dead_rows}, '>=', 4500, 'the rows that have just died are counted');
}

# --- other names, adopted, and the run list
$server->safe_psql('postgres', q{
	CREATE DATABASE other;
	CREATE ROLE nobody LOGIN});
$server->safe_psql('other', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE client (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE basket (id serial PRIMARY KEY, client_id integer NOT NULL REFERENCES client (id));
	CREATE TABLE basket_line (id serial PRIMARY KEY, basket_id integer NOT NULL REFERENCES basket (id));
	INSERT INTO client (last_active) VALUES (now() AT TIME ZONE 'UTC' - interval '1 year'), (now() AT TIME ZONE 'UTC');
	INSERT INTO basket (client_id) SELECT id FROM client;
	INSERT INTO basket_line (basket_id) SELECT b.id FROM basket AS b, generate_series(1, 4);
	SELECT retention.adopt_preset('inactive_carts', target => 'basket_line', subject => 'client')});
{
	my ($code, $report) = report_of([ 'run', '--all', '-d', 'other' ]);
	is($code, 0, 'run --all ends with 0');
	is($report->{inactive_carts}{affected}, 4, 'run --all runs the adopted preset');
	is($server->safe_psql('other', 'SELECT count(*) FROM basket_line'), 4, 'run --all removes the rows of the adopted preset only');
	$server->safe_psql('other', q{SELECT retention.pause_policy('inactive_carts')});
	($code, $report) = report_of([ 'run', '--all', '-d', 'other' ]);
	is($code, 0, 'run --all ends with 0 when a policy is paused');
	ok(!exists $report->{inactive_carts}, 'run --all leaves a paused policy out');
}

# --- versions and rights
{
	my ($code, $out, $err) = runner([ 'status', '-d', 'template1' ], server => $server);
	is($code, 4, 'a database without the extension is refused');
	like($err, qr/CREATE EXTENSION pg_retention/, 'a database without the extension gets the statement that mends it');
	$server->safe_psql('other', q{UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'pg_retention'});
	($code, $out, $err) = runner([ 'run', '--all', '-d', 'other' ], server => $server);
	is($code, 4, 'another version of the SQL objects is refused');
	like($err, qr/extension 0\.0\.1/, 'another version of the SQL objects is named');
	($code) = runner([ 'run', 'inactive_carts', '-U', 'nobody' ], server => $server);
	is($code, 4, 'a user without rights is refused');
}

$server->stop;
done_testing();

# G13: damaged pages of tables, of their out-of-line values and of indexes; made by writing over a page while the server
# is stopped, and mended by putting the page back.
use strict;
use warnings;

use Fcntl qw(SEEK_SET);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = PostgreSQL::Test::Cluster->new('poison');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nstatement_timeout = '2min'\n");
$server->start;
$server->safe_psql('postgres', 'CREATE EXTENSION pg_retention');

sub ask { my ($sql) = @_; return $server->safe_psql('postgres', $sql) }

# Writes over a page of a relation, and gives what stood there.
sub overwrite
{
	my ($relation, $block, $page) = @_;
	my $file = $server->data_dir . '/' . ask("SELECT pg_relation_filepath('$relation')");
	my $size = ask("SELECT current_setting('block_size')");
	$server->stop('fast');
	open my $handle, '+<:raw', $file or die "$file: $!";
	seek $handle, $block * $size, SEEK_SET or die $!;
	read($handle, my $before, $size) == $size or die "$file has no block $block";
	seek $handle, $block * $size, SEEK_SET or die $!;
	print {$handle} $page // ("\x5a" x $size) or die $!;
	close $handle or die $!;
	$server->start;
	return $before;
}

# Runs a policy and tells how it ended.
sub run
{
	my ($policy, $settings) = @_;
	$server->psql('postgres', ($settings // '') . "CALL retention.run('$policy')");
	return ask(q{SELECT concat_ws('|', success, stop_reason, sqlstate, affected, skipped_failed) FROM retention.runs ORDER BY id DESC LIMIT 1});
}
sub failures { my ($policy) = @_; return ask("SELECT string_agg(concat_ws(' ', relation, key, sqlstate), ', ' ORDER BY key) FROM retention.failures WHERE policy = '$policy'") }
sub ledger { return ask('SELECT COALESCE(sum(affected), 0) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)') }

# --- A block of the target, in both walks over the blocks, through the access method and by statements
ask(q{
	CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
	CREATE TABLE items (id int, user_id int NOT NULL REFERENCES users, at timestamptz, body text);
	INSERT INTO users SELECT g, now() - interval '1 year' FROM generate_series(1, 50) g;
	SELECT retention.add_policy('keys', 'items', '90 days', 'last_active', subject => 'users');
	SELECT retention.add_policy('ranges', 'items', '90 days', 'at');
	CREATE TABLE chosen AS SELECT * FROM items});
for my $policy ('keys', 'ranges')
{
	for my $hand ('on', 'off')
	{
		my $title = "$policy, direct $hand";
		ask(q{TRUNCATE items; DELETE FROM retention.failure;
			INSERT INTO items SELECT g, 1 + g % 50, now() - interval '1 year', repeat('x', 50) FROM generate_series(1, 9000) g});
		my ($there, $blocks) = split /\|/, ask(q{SELECT count(*) FILTER (WHERE ctid >= '(37,0)' AND ctid < '(38,0)'), pg_relation_size('items') / current_setting('block_size')::int FROM items});
		cmp_ok($blocks, '>', 100, "$title: the damaged block is one of many");
		my $page = overwrite('items', 37);
		my $settings = "SET retention.walk = blocks; SET retention.direct = $hand; ";
		is(run($policy, $settings), 't|done|' . (9000 - $there) . '|1', "G13 $title: a block that cannot be read is passed by");
		is(failures($policy), 'items "block 37" XX001', "G13 $title: and told");
		is(ledger(), 9000 - $there, "G4 $title: the ledger has the rows that went");
		is(run($policy, $settings), 't|done|0|1', "G13 $title: while it waits it is not read");
		overwrite('items', 37, $page);
		is(ask('SELECT count(*) FROM items'), $there, "$title: its rows stand when it is mended");
		ask("SELECT retention.retry_failures('$policy')");
		is(run($policy, $settings), "t|done|$there|0", "G13 $title: and go with the next try");
		is(failures($policy), '', "G13 $title: which forgets the block");
	}
}

# --- And where the victims are chosen as a list, because other tables decide
{
	ask(q{TRUNCATE items; CREATE TABLE seen (user_id int, at timestamptz);
		INSERT INTO seen SELECT g, now() FROM generate_series(1, 5) g;
		INSERT INTO items SELECT g, 1 + g % 50, now() - interval '1 year', repeat('x', 50) FROM generate_series(1, 9000) g;
		SELECT retention.add_policy('activity', 'items', '90 days', 'at');
		SELECT retention.add_activity('activity', 'seen', 'at', 'activity.user_id = subject.user_id')});
	my $victims = q{FROM items WHERE user_id > 5};
	my ($there, $all) = split /\|/, ask(qq{SELECT count(*) FILTER (WHERE ctid >= '(37,0)' AND ctid < '(38,0)'), count(*) $victims});
	my $page = overwrite('items', 37);
	is(run('activity'), 't|done|' . ($all - $there) . '|1', 'G13 a list: a block that cannot be read is passed by');
	is(failures('activity'), 'items "block 37" XX001', 'G13 a list: and told');
	is(run('activity'), 't|done|0|1', 'G13 a list: while it waits it is not read');
	overwrite('items', 37, $page);
	is(ask("SELECT count(*) $victims"), $there, 'a list: its rows stand when it is mended');
	ask('SELECT retention.retry_failures()');
	is(run('activity'), "t|done|$there|0", 'G13 a list: and go with the next try');
	is(failures('activity'), '', 'G13 a list: which forgets the block');
	is(ask('SELECT count(*) FROM items'), 900, 'G1 a list: rows with activity stay');
}

# --- Values out of line
for my $action ('delete', 'archive')
{
	ask(qq{DROP TABLE IF EXISTS docs, docs_archive; DELETE FROM retention.failure;
		CREATE TABLE docs (id int PRIMARY KEY, at timestamptz, body text);
		ALTER TABLE docs ALTER body SET STORAGE EXTERNAL;
		INSERT INTO docs SELECT g, now() - interval '1 year', repeat(md5(g::text), 100) FROM generate_series(1, 300) g;
		SELECT retention.remove_policy('docs', true);
		SELECT retention.add_policy('docs', 'docs', '90 days', 'at', action => '$action')});
	my $toast = ask(q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'docs'::regclass});
	overwrite($toast, 20);
	my $bad = ask(q{
		CREATE OR REPLACE FUNCTION can_be_read(i int) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN PERFORM md5(body) FROM docs WHERE id = i; RETURN true; EXCEPTION WHEN data_corrupted THEN RETURN false; END $$;
		SELECT string_agg('docs {"id": ' || g || '} XX001', ', ' ORDER BY g) FROM generate_series(1, 300) g WHERE NOT can_be_read(g)});
	my $count = () = $bad =~ /XX001/g;
	cmp_ok($count, '>', 0, "$action: the damaged page has values of $count rows");
	is(run('docs'), 't|done|' . (300 - $count) . "|$count", "G13 $action: rows whose values out of line are damaged are set apart");
	is(failures('docs'), $bad, "G13 $action: those, and no others");
	is(ask('SELECT count(*) FROM docs'), $count, "G13 $action: and stay");
	is(ledger(), 300 - $count, "G4 $action: the ledger has the rows that went");
	is(ask('SELECT count(*) FROM docs_archive'), 300 - $count, 'G4 and so has the archive') if $action eq 'archive';
}

# --- An index that an update writes to
ask(q{
	CREATE TABLE counted (id int PRIMARY KEY, at timestamptz, n int);
	INSERT INTO counted SELECT g, now() - interval '1 year', g FROM generate_series(1, 2000) g;
	CREATE INDEX counted_n ON counted (n) WITH (fillfactor = 10);
	SELECT retention.add_policy('counted', 'counted', '90 days', 'at', action => 'update', set_clause => 'n = target.n + 1, at = NULL')});
overwrite('counted_n', 5);
my ($success, $reason, $affected, $failed) = split /\|/, run('counted');
is("$success $reason", 't done', 'G13 a damaged page of an index: the run goes on');
cmp_ok($failed, '>', 0, 'G13 rows that come to lie on that page are set apart');
is($affected + $failed, 2000, 'G13 all others are updated');
is(ask('SELECT count(*) FROM counted WHERE at IS NULL'), $affected, 'G4 and told');
is(ask(q{SELECT count(*), bool_and(sqlstate IN ('XX001', 'XX002')) FROM retention.failures WHERE policy = 'counted'}), "$failed|t", 'G13 each with its SQLSTATE');
ask('REINDEX INDEX counted_n; SELECT retention.retry_failures()');
is(run('counted'), "t|done|$failed|0", 'G13 and go when the index is mended');
is(failures('counted'), '', 'G13 and are forgotten');

$server->stop;
done_testing();

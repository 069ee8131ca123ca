# Holds that are placed between two batches of CALL retention.run, whatever it remembers from its start; and holds through
# pg_dump and restore.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BatchedRun;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = PostgreSQL::Test::Cluster->new('hold');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nfsync = off");
$server->start;
$server->safe_psql('postgres', 'CREATE EXTENSION pg_retention');
sub ask { return $server->safe_psql('postgres', $_[0], @_[1 .. $#_]) }

# ---- between two batches

ask(q{CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
	CREATE TABLE carts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
	CREATE TABLE items (id int PRIMARY KEY, cart_id int NOT NULL REFERENCES carts, at timestamptz, state text);
	CREATE TABLE photos (id int PRIMARY KEY, item_id int);
	SELECT retention.add_policy('keys', 'items', '90 days', 'last_active', subject => 'users');
	SELECT retention.add_policy('ranges', 'items', '90 days', 'at');
	SELECT retention.add_policy('versions', 'items', '90 days', 'last_active', subject => 'users', condition => 'target.id > 0');
	SELECT retention.add_policy('judged', 'items', '90 days', 'at', condition => 'target.id IN (SELECT generate_series(1, 4000))');
	SELECT retention.add_policy('update', 'items', '90 days', 'at', action => 'update', set_clause => $$state = 'gone'$$);
	SELECT retention.add_policy('archive', 'items', '90 days', 'at', action => 'archive');
	CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
		TRUNCATE users, carts, items, photos, items_archive;
		INSERT INTO users SELECT g, now() - interval '1 year' FROM generate_series(1, 40) g;
		INSERT INTO carts SELECT id, id FROM users;
		INSERT INTO items SELECT g, 1 + g % 40, now() - interval '1 year', 'here' FROM generate_series(1, 4000) g;
		INSERT INTO photos SELECT g, g FROM generate_series(1, 4000) g $$;
	SELECT fill(); ANALYZE});

# Runs three batches of a policy, with a pause after each, in the first of which a hold is placed. Returns the held customer's
# rows that were there then and at the end, and the rows that went before and after.
sub during
{
	my ($policy, $hold, %more) = @_;
	my $run = start_run($server, "'$policy', batch_rows => 100, sleep => '2 s', max_rows => 300", map { "$_ = '$more{$_}'" } sort keys %more);
	$server->poll_query_until('postgres', q{SELECT count(*) FROM retention.progress WHERE affected > 0}, '1') or die 'the run never came to its first pause';
	my $id = ask("SELECT retention.add_hold($hold, reason => 'placed meanwhile')");
	my $before = ask(q{SELECT count(*) FROM items i JOIN carts c ON c.id = i.cart_id WHERE c.user_id = 8 AND state = 'here'});
	my $gone = ask('SELECT affected FROM retention.progress');
	end_run($run);
	my $later = ask('SELECT affected FROM retention.runs ORDER BY id DESC LIMIT 1') - $gone;
	my $after = ask(q{SELECT count(*) FROM items i JOIN carts c ON c.id = i.cart_id WHERE c.user_id = 8 AND state = 'here'});
	ask("SELECT retention.release_hold($id, 'over')");
	return ($before, $after, $gone, $later);
}

for my $policy (qw(keys ranges versions judged update archive))
{
	for my $hand ($policy =~ /update|archive/ ? 'off' : ('on', 'off'))
	{
		ask('SELECT fill()');
		my ($before, $after, $gone, $later) = during($policy, q{'users', key => '{"id": 8}'}, 'retention.direct' => $hand, 'retention.walk' => $policy eq 'versions' ? 'list' : 'blocks');
		cmp_ok($before, '>', 0, "$policy, direct $hand: when the hold is placed, some of its rows are there");
		is($after, $before, "G6 $policy, direct $hand: and no batch that follows takes one");
		ok($gone > 0 && $later > 0, "$policy, direct $hand: though others go, before and after");
	}
}

# ---- dump and restore

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
ask(q{SELECT retention.add_hold('users', key => '{"id": 1}', reason => 'it''s a case');
	SELECT retention.add_hold('items', $$state = 'here' AND id < 10$$, 'another', '2100-01-01');
	CREATE TABLE doomed (id int PRIMARY KEY); SELECT retention.add_hold('doomed', 'true', 'of a table that is gone'); DROP TABLE doomed;
	CREATE TABLE left_out (id int PRIMARY KEY); SELECT retention.add_hold('left_out', 'true', 'of a table that is not dumped');
	CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA retention TO plain});
my $all = 'SELECT id, relation, key, condition, reason, until, owner, placed_by, placed_at, released_by, released_at, release_reason FROM retention.holds ORDER BY id';
my $before = ask($all);
command_ok([ 'pg_dump', '-d', $server->connstr('postgres'), '-f', $dump, '--exclude-table=left_out' ], 'a database with holds is dumped');
ask('CREATE DATABASE copy');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('copy'), '-f', $dump ], 'and restored');
my $copy = sub { return $server->safe_psql('copy', $_[0]) };
is($copy->($all), $before, 'with every hold that was ever placed, and who and why');
$copy->(q{SELECT fill(); SELECT retention.resume_policy('ranges')});
my $lost = $copy->(q{SELECT id FROM retention.holds WHERE reason = 'of a table that is gone'});
like($copy->(q{SELECT message FROM retention.apply('ranges')}), qr/^the table of hold $lost, "public"\."doomed", is not in this database/,
	'G6 in a copy, a hold whose table is not found stops every run');
$copy->(qq{SELECT retention.release_hold(id, 'not part of the copy') FROM retention.hold WHERE relation_name ~ 'doomed|left_out' AND released_at IS NULL});
is($copy->(q{SELECT affected, skipped_held FROM retention.apply('ranges')}), '3891|109', 'the others hold there as they did');
is(ask(q{SELECT success FROM retention.apply('ranges')}), 't', 'where it was placed, the hold of a table that was dropped stops nobody');
command_fails_like([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('copy'), '-c', 'DELETE FROM retention.hold' ], qr/holds are kept for ever/,
	'in the copy too, no hold is deleted');

# The same database emptied and filled again from its dump: the tables are others, under the same names.
ask('DROP TABLE left_out');
command_ok([ 'pg_dump', '--clean', '-d', $server->connstr('postgres'), '-f', $dump ], 'a dump that cleans first');
command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('postgres'), '-f', $dump ], 'is restored into the very same database');
ask(q{SELECT fill(); SELECT retention.resume_policy('keys')});
is(ask(q{SELECT affected, skipped_held FROM retention.apply('keys')}), '3891|109', 'G6 holds find the tables that were made anew under their names');

$server->stop;
done_testing();

# Restores beside others: writers of the same keys, a run of the policy, a cancel; in a copy of the database; and by the
# program.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = new_server('restore');
my $ask = sub { return $server->safe_psql('postgres', $_[0]) };
$ask->(q{CREATE EXTENSION pg_retention;
	CREATE TABLE orders (id int PRIMARY KEY, at timestamptz);
	CREATE TABLE lines (id int PRIMARY KEY, o int NOT NULL REFERENCES orders);
	INSERT INTO orders SELECT g, now() - interval '100 days' FROM generate_series(1, 1000) g;
	INSERT INTO lines SELECT g, g FROM generate_series(1, 1000) g;
	SELECT retention.add_policy('old', 'orders', '90 days', 'at', action => 'archive', dependents => 'cascade')});
my $archive = sub { $ask->(q{CALL retention.run('old', batch_rows => 300)}); return $ask->('SELECT max(id) FROM retention.runs') };
my $where = q{SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM lines), (SELECT count(*) FROM orders_archive), (SELECT count(*) FROM lines_archive)};
my $waits = sub { $server->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')}) or die 'nobody waits' };

# --- the program
my $run = $archive->();
my ($code, $out, $err) = runner([ 'restore', $run ], server => $server);
is_deeply([ $code, $err ], [ 0, '' ], 'the program takes a run of several batches back');
like($out, qr/ old: ok: Put 1000 rows of public\.orders back, and 1000 rows that belong to them; .* \(run \d+, restore 1000 rows, .*dependent public\.lines 1000/, 'and tells what it put back');
is($ask->($where), '1000|1000|0|0', 'the rows are back');
($code, $out) = runner([ 'restore', 987654321 ], server => $server);
is($code, 1, 'a run that is not there ends with 1');
like($out, qr/^\S+ run 987654321: failed: .*does not exist.*SQLSTATE 42704/, 'and is told');

# --- a writer of the same key: the restore waits for it as any insert, and tells the row that lost
$run = $archive->();
my $writer = $server->background_psql('postgres');
$writer->query_safe('BEGIN; INSERT INTO orders VALUES (500, now())');
my $restore = start_runner([ 'restore', $run, '--log-format=json' ], server => $server);
$waits->();
$writer->query_safe('COMMIT');
is(code_of($restore), 0, 'a restore that meets a writer of the same key ends well');
my @lines = map { decode_json($_) } lines($restore->{out});
is_deeply([ map { $lines[0]{$_} } qw(success action affected) ], [ JSON::PP::true, 'restore', 999 ], 'the other rows are back');
is_deeply([ map { [ @$_{qw(relation staying sqlstate)} ] } @lines[ 1 .. 2 ] ], [ [ 'public.lines', 1, '23505' ], [ 'public.orders', 1, '23505' ] ], 'G3 the row that lost stays with what belongs to it, and is listed');
is($ask->($where), '1000|999|1|1', 'G4 each row is in one place');
$ask->('DELETE FROM orders WHERE id = 500');
($code) = runner([ 'restore', $run, '--partial' ], server => $server);
is($code . ' ' . $ask->($where), '0 1000|1000|0|0', 'later it returns too');

# --- a writer that does not end: the wait is bounded
$run = $archive->();
$writer->query_safe('BEGIN; INSERT INTO orders VALUES (500, now())');
is($ask->("SET retention.lock_timeout = '100ms'; SELECT affected, skipped_locked, skipped_blocked FROM retention.restore($run)"), '999|1|0', 'G5 a row that somebody is inserting is left as locked');
$writer->query_safe('ROLLBACK');
is($ask->("SELECT affected FROM retention.restore($run)"), '1', 'and returns once nobody is');

# --- one at a time
$run = $archive->();
$writer->query_safe("BEGIN; SELECT affected FROM retention.restore($run)");
is($ask->(q{CALL retention.run('old')}) =~ /another run of policy/ ? 'kept out' : 'ran', 'kept out', 'G10 a run of the policy is kept out while a restore is under way');
is($ask->("SELECT success, stop_reason, affected FROM retention.restore($run)"), 't|running|0', 'G10 and so is another restore');

# --- cancelled in the middle
$writer->query_safe('ROLLBACK');
is($ask->($where), '0|0|1000|1000', 'a restore that is rolled back leaves everything in the archive');
$writer->query_safe('BEGIN; INSERT INTO orders VALUES (999, now())');
$restore = start_runner([ 'restore', $run ], server => $server);
$waits->();
kill 'INT', $restore->{pid};
is(code_of($restore), 1, 'a restore that is cancelled ends with 1');
like($restore->{out}, qr/failed: cancelled by SIGINT/, 'and says so');
$writer->query_safe('ROLLBACK');
is($ask->($where), '0|0|1000|1000', 'G4 and has put nothing back');
is($ask->("SELECT affected FROM retention.restore($run)"), '1000', 'it is simply run again');
$writer->quit;

# --- a copy of the database: by names, without the history
$run = $archive->();
$server->safe_psql('postgres', 'CREATE DATABASE copy');
my $file = PostgreSQL::Test::Utils::tempdir() . '/restore.sql';
command_ok([ 'pg_dump', '-f', $file, $server->connstr('postgres') ], 'a dump takes archives along');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('copy'), '-f', $file ], 'and restores');
is($server->safe_psql('copy', 'SELECT count(*) FROM retention.runs'), '0', 'the history of runs stays where it happened');
is($server->safe_psql('copy', "SELECT affected FROM retention.restore($run)"), '1000', 'but a run can be taken back in the copy');
cmp_ok($server->safe_psql('copy', 'SELECT max(id) FROM retention.runs'), '>', $run, 'where the numbers of runs go on');

$server->stop;
done_testing();

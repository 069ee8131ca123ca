# Signals and lost connections: the batch under way is cancelled, everything that was committed is reported.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use IO::Socket::INET;
use JSON::PP;
use Test::More;

my $server = new_server('signals');
install_stand_in($server, runner_version());
my $time = timestamp_like();

my $gate = $server->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK TABLE stand_in.gate');

for my $signal (qw(INT TERM))
{
	$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');
	my $run = start_runner([ 'run', 'before', 'waits', 'after', 'later' ], server => $server);
	wait_until_waiting($server);
	kill $signal, $run->{pid};
	my $code;
	my $log = server_log_of($server, sub { $code = code_of($run) });
	is($code, 1, "SIG$signal ends the runner with 1");
	my @line = lines($run->{out});
	is(scalar(@line), 4, "SIG$signal leaves one line for each policy");
	like($line[0], qr/^$time before: ok: /, "SIG$signal leaves the policy before it reported as done");
	like($line[1], qr/^$time waits: failed: cancelled by SIG$signal .*SQLSTATE 57014/, "SIG$signal cancels the running policy, and it is reported so");
	like($line[1], qr/\(run \d+, delete 100 rows, .*1 batch,/, "SIG$signal leaves what the running policy had committed reported");
	like($line[2], qr/^$time after: failed: not run: stopped by SIG$signal/, "SIG$signal starts no further policy");
	like($line[3], qr/^$time later: failed: not run: stopped by SIG$signal/, "SIG$signal reports every policy that was not run");
	like($run->{err}, qr/policy "waits": cancelled by SIG$signal: ERROR:  canceling statement due to user request/, "SIG$signal is an error on standard error");
	ok(sessions_gone($server), "SIG$signal leaves no session behind");
	is(trace($server), 'before waits', "SIG$signal keeps what was committed and undoes what was running");
}

{
	my $run = start_runner([ 'run', '--log-format=json', 'waits', 'after' ], server => $server);
	wait_until_waiting($server);
	kill 'TERM', $run->{pid};
	is(code_of($run), 1, 'a signal ends a run in the JSON format with 1');
	my ($waits, $after) = map { decode_json($_) } lines($run->{out});
	is_deeply([ @$waits{qw(policy success sqlstate message)} ], [ 'waits', JSON::PP::false, '57014', 'cancelled by SIGTERM' ], 'a cancelled policy has its SQLSTATE in JSON');
	is_deeply([ @$waits{qw(affected stop_reason batches)} ], [ 100, 'cancelled', 1 ], 'a cancelled policy has in JSON what it had committed');
	is_deeply([ @$after{qw(policy success sqlstate run_id)} ], [ 'after', JSON::PP::false, undef, undef ], 'a policy that was not run has a line in JSON');
}

# --- what had been committed, where it cannot be learned
{
	$server->safe_psql('postgres', 'CREATE ROLE blind LOGIN; REVOKE SELECT ON retention.runs FROM PUBLIC');
	my $run = start_runner([ 'run', 'waits' ], server => $server, env => { PGUSER => 'blind' });
	wait_until_waiting($server);
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal ends a run of who may not read its record with 1');
	like($run->{out}, qr/^$time waits: failed: cancelled by SIGINT \([\d.]+ ms, SQLSTATE 57014\)$/m, 'what had been committed is left out where it may not be read');
	$server->safe_psql('postgres', 'GRANT SELECT ON retention.runs TO PUBLIC');
}
{
	$server->safe_psql('postgres', q{
		CREATE TABLE stand_in.second_gate ();
		CREATE FUNCTION stand_in.passes() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE stand_in.second_gate; RETURN true; END $$;
		CREATE OR REPLACE VIEW retention.runs AS SELECT * FROM stand_in.runs WHERE stand_in.passes()});
	my $second_gate = $server->background_psql('postgres');
	$second_gate->query_safe('BEGIN; LOCK TABLE stand_in.second_gate');
	my $run = start_runner([ 'run', 'waits' ], server => $server);
	wait_until_waiting($server);
	kill 'INT', $run->{pid};
	ok($server->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event_type = 'Lock' AND query LIKE '%retention.runs%')}),
		'a signal does not cancel the question what had been committed');
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a second signal ends that question too');
	like($run->{out}, qr/^$time waits: failed: cancelled by SIGINT \([\d.]+ ms, SQLSTATE 57014\)$/m, 'a second signal leaves the cancelled policy reported');
	ok(sessions_gone($server), 'a second signal leaves no session behind');
	$second_gate->quit;
	$server->safe_psql('postgres', 'CREATE OR REPLACE VIEW retention.runs AS SELECT * FROM stand_in.runs');
}

# --- a signal while the versions are compared
{
	$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');
	$server->safe_psql('postgres', q{ALTER FUNCTION retention.library_version() RENAME TO true_version;
		CREATE FUNCTION retention.library_version() RETURNS text LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE stand_in.gate; RETURN retention.true_version(); END $$});
	my $run = start_runner([ 'run', 'before' ], server => $server);
	wait_until_waiting($server);
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal before the first policy ends with 1');
	like($run->{err}, qr/cancelled by SIGINT before any policy was run/, 'a signal before the first policy is said to be so');
	is(trace($server), '', 'a signal before the first policy runs none');
	$server->safe_psql('postgres', 'DROP FUNCTION retention.library_version(); ALTER FUNCTION retention.true_version() RENAME TO library_version');
}

# --- the old way, in one transaction
{
	$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');
	$server->safe_psql('postgres', q{CREATE FUNCTION stand_in.hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE stand_in.gate; RETURN NEW; END $$;
		CREATE TRIGGER hold AFTER INSERT ON stand_in.trace FOR EACH ROW WHEN (NEW.policy = 'whole') EXECUTE FUNCTION stand_in.hold()});
	my $run = start_runner([ 'run', '--single-transaction', 'before', 'whole' ], server => $server);
	wait_until_waiting($server);
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal ends a run in one transaction with 1');
	like($run->{out}, qr/^$time whole: failed: cancelled by SIGINT \([\d.]+ ms, SQLSTATE 57014\)$/m, 'a cancelled run in one transaction is reported with nothing done');
	is(trace($server), 'before', 'a signal undoes a run in one transaction as a whole');
	$server->safe_psql('postgres', 'DROP TRIGGER hold ON stand_in.trace');
}

# --- a connection that breaks
{
	$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');
	my $run = start_runner([ 'run', 'before', 'waits', 'after' ], server => $server);
	wait_until_waiting($server);
	$server->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_retention'});
	is(code_of($run), 1, 'a lost connection ends with 1');
	my @line = lines($run->{out});
	like($line[0], qr/^$time before: ok: /, 'what was done before the connection was lost is reported');
	like($line[1], qr/^$time waits: failed: connection lost: terminating connection due to administrator command .*SQLSTATE 57P01/, 'a lost connection is the failure of the running policy, with the server\'s reason');
	like($line[2], qr/^$time after: failed: not run: connection lost/, 'the policies after a lost connection are reported as not run');
	is(trace($server), 'before waits', 'a lost connection keeps what was committed and undoes what was running');
}
$gate->quit;

# --- a signal while the server does not answer
for my $signal (qw(INT TERM))
{
	my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "cannot listen: $!";
	my $run = start_runner([ 'run', 'before', '-h', '127.0.0.1', '-p', $listener->sockport, '-d', 'dbname=postgres sslmode=disable' ]);
	my $peer = $listener->accept;
	sysread $peer, my $packet, 4;
	kill $signal, $run->{pid};
	is(code_of($run), 3, "SIG$signal while connecting ends with 3");
	like($run->{err}, qr/interrupted while connecting/, "SIG$signal while connecting is said to be so");
	is($run->{out}, '', "SIG$signal while connecting reports no policy");
}

$server->stop;
done_testing();

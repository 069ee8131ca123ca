# Signals and lost connections: the statement is cancelled, nothing is half done, everything is reported.
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
my $waiting = q{FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event_type = 'Lock'};

# Waits until the runner's statement waits for the gate.
sub wait_until_waiting
{
	$server->poll_query_until('postgres', "SELECT EXISTS (SELECT $waiting)") or die 'the runner never waited';
	return;
}

# Waits for the runner's end and gives its exit code.
sub code_of
{
	my ($run) = @_;
	$run->{handle}->finish;
	return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}

# Whether the runner's session leaves the server.
sub session_gone
{
	return $server->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention')});
}

my $gate = $server->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK TABLE stand_in.gate');

for my $signal (qw(INT TERM))
{
	$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');
	my $run = start_runner([ 'run', 'before', 'waits', 'after', 'later' ], server => $server);
	wait_until_waiting();
	kill $signal, $run->{pid};
	my $code;
	my $log = server_log_of($server, sub { $code = code_of($run) });
	is($code, 1, "SIG$signal ends the runner with 1");
	my @line = lines($run->{out});
	is(scalar(@line), 4, "SIG$signal leaves one line for each policy");
	like($line[0], qr/^$time before: ok: /, "SIG$signal leaves the policy before it reported as done");
	like($line[1], qr/^$time waits: failed: cancelled by SIG$signal .*SQLSTATE 57014/, "SIG$signal cancels the running policy, and it is reported so");
	like($line[2], qr/^$time after: failed: not run: stopped by SIG$signal/, "SIG$signal starts no further policy");
	like($line[3], qr/^$time later: failed: not run: stopped by SIG$signal/, "SIG$signal reports every policy that was not run");
	like($run->{err}, qr/policy "waits": cancelled by SIG$signal: ERROR:  canceling statement due to user request/, "SIG$signal is an error on standard error");
	ok(session_gone(), "SIG$signal leaves no session behind");
	is(trace($server), 'before', "SIG$signal keeps what was committed and undoes what was running");
}

{
	my $run = start_runner([ 'run', '--log-format=json', 'waits', 'after' ], server => $server);
	wait_until_waiting();
	kill 'TERM', $run->{pid};
	is(code_of($run), 1, 'a signal ends a run in the JSON format with 1');
	my ($waits, $after) = map { decode_json($_) } lines($run->{out});
	is_deeply([ @$waits{qw(policy success sqlstate message)} ], [ 'waits', JSON::PP::false, '57014', 'cancelled by SIGTERM' ], 'a cancelled policy has its SQLSTATE in JSON');
	is_deeply([ @$after{qw(policy success sqlstate run_id)} ], [ 'after', JSON::PP::false, undef, undef ], 'a policy that was not run has a line in JSON');
}

# --- a signal while the versions are compared
{
	$server->safe_psql('postgres', 'TRUNCATE stand_in.trace');
	$server->safe_psql('postgres', q{ALTER FUNCTION retention.library_version() RENAME TO true_version;
		CREATE FUNCTION retention.library_version() RETURNS text LANGUAGE plpgsql AS $$ BEGIN LOCK TABLE stand_in.gate; RETURN retention.true_version(); END $$});
	my $run = start_runner([ 'run', 'before' ], server => $server);
	wait_until_waiting();
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal before the first policy ends with 1');
	like($run->{err}, qr/cancelled by SIGINT before any policy was run/, 'a signal before the first policy is said to be so');
	is(trace($server), '', 'a signal before the first policy runs none');
	$server->safe_psql('postgres', 'DROP FUNCTION retention.library_version(); ALTER FUNCTION retention.true_version() RENAME TO library_version');
}

# --- a connection that breaks
{
	my $run = start_runner([ 'run', 'before', 'waits', 'after' ], server => $server);
	wait_until_waiting();
	$server->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $waiting");
	is(code_of($run), 1, 'a lost connection ends with 1');
	my @line = lines($run->{out});
	like($line[0], qr/^$time before: ok: /, 'what was done before the connection was lost is reported');
	like($line[1], qr/^$time waits: failed: connection lost: terminating connection due to administrator command .*SQLSTATE 57P01/, 'a lost connection is the failure of the running policy, with the server\'s reason');
	like($line[2], qr/^$time after: failed: not run: connection lost/, 'the policies after a lost connection are reported as not run');
	is(trace($server), 'before', 'a lost connection keeps what was committed and undoes what was running');
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

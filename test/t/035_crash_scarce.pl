# What gives out under a run: its client, the server's connections, its time, the disk. The ledger stays true, somebody is told,
# nothing is left behind, and the next run does the rest.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use CrashGround;
use CrashRun;
use ServerSession;
use LoopbackProxy;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = crash_server('crash_scarce', "max_connections = 13\nsuperuser_reserved_connections = 3\n");
make_grounds($server, qw(visits crumbs));
my %grounds = map { $_->{name} => $_ } grounds();
my $visits = $grounds{visits};
my $due = 3200;

sub sessions_leave { return poll('the sessions leaving', sub { sessions() == 0 }) }
sub sessions { return ask($server, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crash'}) }

# A run of visits by the runner, 320 rows a batch.
sub start
{
	my ($jobs, $settings, %how) = @_;
	return begin_run($server, policy => 'visits', by => 'runner', jobs => $jobs, batch_rows => 320, arguments => [ '--vacuum', 'never' ], settings => { %{ $visits->{settings} }, %{ $settings // {} } }, %how);
}

# The next run, which nothing befalls.
sub is_finished_by_the_next
{
	my ($claim, $reason) = @_;
	my ($status, $out, $err) = settle(start(2), '');
	is($status, 0, "G10 $claim: the next run succeeds") or diag($out, $err);
	is(audit($server, $visits, 1, $reason), '', "G3 G4 G10 $claim: then every due row is done, once, and in the ledger");
	return;
}

sub last_runs { my ($run, $columns) = @_; return ask($server, "SELECT $columns FROM retention.runs WHERE id > $run->{since}") }

# ---- a client that vanishes

for my $death ([ 'client KILL', 'a runner that is killed' ], [ 'wire cut', 'a runner that loses its connection' ])
{
	my ($how, $claim) = @$death;
	fill_ground($server, $visits);
	my $proxy = LoopbackProxy->new($server->host . '/.s.PGSQL.' . $server->port);
	my $run = start(2, { 'retention.batch_sleep' => '1h' }, proxy => $proxy);
	moment($run, 'batches', 2);
	poll('both slices sleeping', sub { ask($server, q{SELECT count(*) FROM retention.progress WHERE affected > 0}) == 2 });
	strike($run, $how);
	my ($status, $out, $err) = settle($run, $how);
	is($status, $how =~ /KILL/ ? 'signal 9' : 1, "$claim ends with " . ($how =~ /KILL/ ? 'that signal' : 1));
	is(last_runs($run, q{string_agg(stop_reason || ' ' || affected, ', ' ORDER BY slice)}), 'interrupted 320, interrupted 320', "$claim leaves no run that goes on by itself");
	unlike($err, qr/invalid socket/, "$claim: the loss is told once") if $how =~ /wire/;
	is(audit($server, $visits), '', "G3 G4 G10 $claim: all is true");
	is_finished_by_the_next($claim);
}

{
	my $claim = 'a connection lost among others';
	fill_ground($server, $visits);
	my $proxy = LoopbackProxy->new($server->host . '/.s.PGSQL.' . $server->port);
	my $holder = gate($server, 2);
	# Nobody has told the server to look for its client: it is the runner that ends what it has lost.
	my $run = start(2, { 'client_connection_check_interval' => 0, lock_timeout => 0, 'retention.lock_timeout' => 0 }, proxy => $proxy);
	# The other slice's process may take a moment to see that its client has gone; it never waits here.
	my $at_gate = q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crash' AND wait_event = 'advisory'};
	poll('slice 1 at the gate', sub { ask($server, $at_gate) == 1 });
	$proxy->lose_first;
	my ($status, $out) = end_of($run);
	is(ask($server, $at_gate), 0, "$claim: when the runner has ended, so has the process of that connection");
	open_gate($server, $holder);
	my ($line) = objects($out);
	is($status, 1, "$claim ends with 1");
	is_deeply([ map { "$_->{stop_reason} $_->{affected}" } @{ $line->{slices} } ], [ 'interrupted 320', 'done ' . ask($server, "SELECT affected FROM retention.runs WHERE id > $run->{since} AND slice = 2") ],
		"G4 $claim: what it had committed is told, and the other slice is done");
	settle($run, '');
	is(audit($server, $visits), '', "G3 G4 G10 $claim: all is true");
	is_finished_by_the_next($claim);
}

# ---- a run with a temporary file, which nobody needs any more

for my $how ('backend KILL', 'postmaster QUIT', 'postmaster KILL', 'client KILL', 'client TERM')
{
	my $claim = "a run with a temporary file, $how";
	fill_ground($server, $grounds{crumbs});
	my $run = begin_run($server, policy => 'crumbs', by => 'runner', jobs => 1, batch_rows => 1000, settings => { %{ $grounds{crumbs}{settings} }, 'retention.batch_sleep' => '1h' });
	my ($pid) = moment($run, 'batches', 1);
	is(ask($server, 'SELECT count(*) > 0 FROM pg_ls_tmpdir()'), 't', "$claim: it has one");
	strike($run, $how, $pid);
	settle($run, $how);
	is(audit($server, $grounds{crumbs}), '', "G3 G4 G10 $claim: all is true, and the file is gone");
}

# ---- no connection left: 13 in all, 3 of them for superusers, one this test's own

ask($server, 'CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA retention TO app; GRANT EXECUTE ON ALL ROUTINES IN SCHEMA retention TO app; GRANT SELECT ON ALL TABLES IN SCHEMA retention TO app');
{
	my @others = map { $server->background_psql('postgres', extra_params => [ '-U', 'app' ]) } 1 .. 6;
	fill_ground($server, $visits);
	my $run = start(4, {}, user => 'app');
	my ($status, $out, $err) = end_of($run);
	is_deeply([ $status, $out ], [ 3, '' ], 'no connection left for four jobs: the runner ends with 3 and reports no policy');
	like($err, qr/^pg_retention: error: .*(?:too many clients already|connection slots are reserved)/m, 'no connection left for four jobs: the runner says so');
	is(last_runs($run, 'count(*)'), 0, 'no connection left for four jobs: no run has begun');
	is(left_to_do($server, $visits), $due, 'no connection left for four jobs: nothing is done');
	sessions_leave();

	$run = start(3, {}, user => 'app', arguments => [ '--progress' ]);
	($status, $out, $err) = end_of($run);
	is($status, 0, 'no connection left for --progress: the work is done all the same');
	like($err, qr/progress is not shown: .*(?:too many clients already|connection slots are reserved)/, 'no connection left for --progress: that is told');
	is(left_to_do($server, $visits), 0, 'no connection left for --progress: nothing due is left');
	sessions_leave();

	# A request to stop needs no connection slot.
	fill_ground($server, $visits);
	$run = start(3, { 'retention.batch_sleep' => '1h' }, user => 'app');
	poll('three slices sleeping', sub { ask($server, q{SELECT count(*) FROM retention.progress WHERE affected > 0}) == 3 });
	kill 'TERM', clients_of($run);
	($status, $out) = end_of($run);
	is($status, 1, 'SIGTERM while no connection is left ends with 1');
	is(last_runs($run, q{string_agg(stop_reason || ' ' || affected, ', ' ORDER BY slice)}), join(', ', ('cancelled 320') x 3), 'SIGTERM while no connection is left cancels every slice');
	$_->quit for @others;
	settle($run, '');
	is(audit($server, $visits), '', 'G3 G4 G10 no connection left: all is true');
	is_finished_by_the_next('no connection left');
}

# ---- no time left

{
	fill_ground($server, $visits);
	my ($status, $out, $err) = settle(my $run = start(1, { statement_timeout => '1s', 'retention.batch_sleep' => '1h' }), '');
	is($status, 1, 'statement_timeout ends the runner with 1');
	like($err, qr/canceling statement due to statement timeout/, 'statement_timeout is named by the runner');
	is(last_runs($run, 'stop_reason, sqlstate, success'), 'cancelled|57014|f', 'a run that meets statement_timeout is recorded as cancelled');
	is((objects($out))[0]{affected}, last_runs($run, 'affected'), 'G4 statement_timeout: the runner tells what was done');
	is(audit($server, $visits), '', 'G3 G4 G10 statement_timeout: all is true');
	is_finished_by_the_next('statement_timeout');
}
{
	fill_ground($server, $visits);
	my ($status) = settle(start(2, { idle_in_transaction_session_timeout => 1, 'retention.batch_sleep' => 20 }), '');
	is($status, 0, 'idle_in_transaction_session_timeout: a run that pauses between its batches is in no transaction');
	is(audit($server, $visits, 1), '', 'G3 G4 G10 idle_in_transaction_session_timeout: every due row is done');
}
{
	# Slice 1 keeps the other three waiting for longer than an idle session may live.
	fill_ground($server, $visits);
	my $holder = gate($server, 1);
	my $run = start(4, { idle_session_timeout => 50, lock_timeout => 0, 'retention.lock_timeout' => 0 }, arguments => [ '--vacuum', 'always' ]);
	poll('three slices done', sub { last_runs($run, q{count(*) FILTER (WHERE stop_reason = 'done')}) == 3 });
	poll('their sessions waiting, or gone', sub { ask($server, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'crash' AND state = 'idle' AND state_change > clock_timestamp() - interval '200 ms'}) == 0 });
	open_gate($server, $holder);
	my ($status, $out, $err) = settle($run, '');
	is("$status $err", '0 ', 'idle_session_timeout: a session that waits for the others is not ended');
	is(audit($server, $visits, 1), '', 'G3 G4 G10 idle_session_timeout: every due row is done');
}
SKIP:
{
	skip 'transaction_timeout came with PostgreSQL 17', 7 if $server->pg_version < 17;
	fill_ground($server, $visits);
	my ($status) = settle(my $run = start(1, { transaction_timeout => '5s', 'retention.batch_sleep' => 600 }), '');
	is($status, 0, 'transaction_timeout: each batch is a transaction of its own');
	is(last_runs($run, q{duration > interval '5 seconds'}), 't', 'transaction_timeout: the run took longer than one transaction may');

	fill_ground($server, $visits);
	my $holder = gate($server, 2);
	$run = start(1, { transaction_timeout => '1s', lock_timeout => 0, 'retention.lock_timeout' => 0 });
	($status) = end_of($run);
	open_gate($server, $holder);
	settle($run, '');
	is($status, 1, 'transaction_timeout within a batch ends the runner with 1');
	is(last_runs($run, 'stop_reason, affected'), 'interrupted|320', 'transaction_timeout within a batch undoes that batch, and the run says interrupted');
	is(audit($server, $visits), '', 'G3 G4 G10 transaction_timeout: all is true');
	is_finished_by_the_next('transaction_timeout');
}

$server->stop;
done_testing();

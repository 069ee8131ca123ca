# What --progress shows: a bar on a terminal, lines elsewhere, on standard error, read by a connection of its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use IPC::Run ();
use Test::More;

my $server = new_server('progress');
install_stand_in($server, runner_version());
$server->safe_psql('postgres', q{
	CREATE TABLE items (); CREATE TABLE sessions ();
	INSERT INTO retention.policy (name, target) VALUES ('waits_items', 'items'), ('waits_sessions', 'sessions');
	CREATE ROLE blind LOGIN;
	GRANT ALL ON DATABASE postgres TO blind});
my $gate = $server->background_psql('postgres');

sub close_gate { $gate->query_safe('BEGIN; LOCK TABLE stand_in.gate'); return }
sub open_gate { $gate->query_safe('ROLLBACK'); $server->safe_psql('postgres', 'TRUNCATE stand_in.trace, stand_in.call, stand_in.runs'); return }
sub sessions { return $server->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_retention'}) }

# --- lines
close_gate();
{
	my $run = start_runner([ 'run', 'waits', '--progress' ], server => $server);
	my $line = qr/^pg_retention: progress: policy "waits":  25 %, 100 rows, 50 rows\/s, about 01:02:03 left\n/m;
	$run->{handle}->pump until $run->{err} =~ $line;
	pass('rows done, rate and time left are a line on a pipe');
	is(sessions(), 2, 'progress is read by a connection of its own');
	is($run->{out}, '', 'progress is not on standard output');
	$run->{handle}->pump until $run->{err} =~ /$line$line/;
	pass('the line comes again while the run is under way');
	unlike($run->{err}, qr/\r|\e/, 'a pipe gets no control characters');
	open_gate();
	is(code_of($run), 0, 'a run that was watched ends as it would have');
	like($run->{out}, qr/\A\S+ waits: ok: [^\n]*\n\z/, 'the report of a run that was watched is what it would have been');
	ok(sessions_gone($server), 'the connection that watched is not left behind');
}
close_gate();
{
	my $run = start_runner([ 'run', 'waits', '--progress', '-j', 3 ], server => $server);
	$run->{handle}->pump until $run->{err} =~ /progress: .*\n/;
	like($run->{err}, qr/progress: policy "waits":  25 %, 300 rows, 150 rows\/s, about 01:02:03 left\n/, 'slices are summed: rows and rate; the slowest says how long it takes');
	open_gate();
	is(code_of($run), 0, 'slices that were watched end with 0');
}
close_gate();
{
	my $run = start_runner([ 'run', 'waits_items', 'waits_sessions', '--progress', '-j', 2 ], server => $server);
	$run->{handle}->pump until $run->{err} =~ /progress: .*\n.*progress: .*\n/;
	like($run->{err}, qr/progress: policy "waits_$_":  25 %, 100 rows/, "policies side by side are a line each (waits_$_)") for 'items', 'sessions';
	open_gate();
	is(code_of($run), 0, 'policies side by side that were watched end with 0');
}

# --- what cannot be shown
$server->safe_psql('postgres', 'REVOKE SELECT ON retention.progress FROM PUBLIC');
close_gate();
{
	my $run = start_runner([ 'run', 'waits', '--progress' ], server => $server, env => { PGUSER => 'blind' });
	$run->{handle}->pump until $run->{err} =~ /\n/;
	open_gate();
	is(code_of($run), 0, 'a run that may not be watched is run');
	is($run->{err}, "pg_retention: cannot show progress: permission denied for view progress\n", 'that it cannot be watched is said once');
}
$server->safe_psql('postgres', 'GRANT SELECT ON retention.progress TO PUBLIC');
close_gate();
{
	my $run = start_runner([ 'run', 'waits', '--progress' ], server => $server);
	wait_until_waiting($server);
	$server->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event_type <> 'Lock'});
	$run->{handle}->pump until $run->{err} =~ /cannot show progress: /;
	pass('a watching connection that breaks is said to be gone');
	open_gate();
	is(code_of($run), 0, 'a watching connection that breaks does not stop the run');
}
close_gate();
{
	my $run = start_runner([ 'run', 'waits', '--progress', '-j', 2 ], server => $server);
	$run->{handle}->pump until $run->{err} =~ /progress: /;
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal ends a run that is watched with 1');
	like($run->{out}, qr/ waits: failed: cancelled by SIGINT \(runs \d+ \d+, delete 200 rows/, 'a signal leaves a run that is watched reported as ever');
	open_gate();
}

# --- the bar: standard output and standard error on a terminal of their own
sub on_terminal
{
	my ($term, $arguments, $until) = @_;
	local %ENV = (%ENV, PGHOST => $server->host, PGPORT => $server->port, PGDATABASE => 'postgres', TERM => $term, COLUMNS => 80);
	my ($typed, $shown) = ('', '');
	close_gate();
	my $run = IPC::Run::start([ 'sh', '-c', 'exec "$0" "$@" 2>&1', runner_program(), @$arguments ], '<pty<', \$typed, '>pty>', \$shown, IPC::Run::timeout(60));
	$run->pump until $shown =~ $until;
	open_gate();
	$run->finish;
	is($? >> 8, 0, "a run on a terminal ($term) ends with 0");
	return $shown;
}
{
	my $bar = qr/waits \[#{6}\.{18}\]  25 % 100 rows, 50 rows\/s, about 01:02:03 left/;
	my $shown = on_terminal('xterm', [ 'run', 'waits', '--progress' ], qr/$bar.*$bar/s);
	like($shown, qr/\A\r$bar\e\[K\r$bar\e\[K/, 'the bar on a terminal is written over in its place');
	like($shown, qr/\e\[K\r\e\[K\d{4}-\d\d-\d\dT\S+ waits: ok: [^\r\n]*\r\n\z/, 'the bar makes room for the report and does not come back');
	unlike($shown, qr/$bar[^\r]*\n/, 'no bar is left standing on a line');
}
{
	my $name = 'waits_' . 'x' x 57;
	my $shown = on_terminal('xterm', [ 'run', $name, '--progress' ], qr/left/);
	my ($line) = $shown =~ /\r([^\r\n]*left[^\r\n]*?)\e/;
	ok(length($line) < 80, 'the bar fits the terminal, however long the name is');
}
like(on_terminal('dumb', [ 'run', 'waits', '--progress' ], qr/left/), qr/\Apg_retention: progress: policy "waits":  25 %/, 'a terminal that cannot write over a line gets lines');

$gate->quit;
$server->stop;
done_testing();

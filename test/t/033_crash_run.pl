# Committed runs that die at random moments: what is gone is in the ledger, families go whole, nothing is left behind, and the
# next run goes on.
#
# PG_RETENTION_CRASH_SEED chooses the moments (default: another seed each time, told in the output), PG_RETENTION_CRASH_MOMENTS
# how many.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use CrashGround;
use CrashRun;
use ServerSession;
use LoopbackProxy;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = $ENV{PG_RETENTION_CRASH_SEED} // int(rand(1_000_000)) + $$;
my $moments = $ENV{PG_RETENTION_CRASH_MOMENTS} // 240;
srand $seed;
note("seed $seed, $moments moments");

my $server = crash_server('crash_run');
my $proxy = LoopbackProxy->new($server->host . '/.s.PGSQL.' . $server->port);
my @grounds = grep { !$_->{is_large} } grounds();
make_grounds($server, map { $_->{name} } @grounds);
my @deaths = ('backend KILL', 'postmaster QUIT', 'client KILL', 'client TERM', 'client INT', 'wire cut', 'backend KILL', 'postmaster KILL');
my %names = ('backend KILL' => 'kill -9 of a backend', 'postmaster QUIT' => 'an immediate shutdown', 'postmaster KILL' => 'kill -9 of the postmaster', 'wire cut' => 'a connection reset',
	map { ("client $_" => "SIG$_ to the client") } qw(KILL TERM INT));
my (%struck, %died, %ways);

sub pick { return $_[ int rand @_ ] }

# The settings of a run: those that force the ground's way, and those that must make no difference.
sub settings_of
{
	my ($ground) = @_;
	my %settings = (%{ $ground->{settings} }, 'retention.work_mem' => pick(256, 65536), 'retention.direct' => pick('on', 'off'),
		'retention.batch_sleep' => pick(0, 2), 'synchronous_commit' => pick('on', 'off'));
	$settings{client_connection_check_interval} = 5 if rand() < 0.5;
	return \%settings;
}

# A client that outlived the strike tells of no row that is not gone, and of each that is where the server could still tell it.
sub is_report_true
{
	my ($run, $how, $title, $status, $out) = @_;
	# Where the server itself may lose what it said was committed, nobody can know better.
	return if $run->{settings}{synchronous_commit} eq 'off' && $how !~ /^(?:client|wire)/;
	my @lines = objects($out);
	my $told = 0;
	$told += $_->{affected} // 0 for grep { defined $_->{policy} } @lines;
	my $done = answer($server, "SELECT COALESCE(sum(affected), 0) FROM retention.runs WHERE id > $run->{since}");
	my $is_over = answer($server, "SELECT count(*) = $run->{jobs} AND bool_and(stop_reason = 'done') FROM retention.runs WHERE id > $run->{since}") eq 't';
	if ($how =~ /^client/) { is($told, $done, "G4 $title: the runner tells what was done") }
	else { cmp_ok($told, '<=', $done, "G4 $title: the runner tells of no row that is not done") }
	# A program that is not yet there to hear a signal dies of it.
	like($status, $is_over ? qr/^[013]$/ : $run->{is_young} ? qr/^(?:[13]|signal (?:2|15))$/ : qr/^[13]$/, "$title: the runner does not end with success unless all is done");
	return;
}

# One run, struck at a moment.
sub crash
{
	my ($number, $ground, $how) = @_;
	my $by = $how =~ /^wire/ ? 'runner' : pick('runner', 'CALL');
	my %how = (policy => $ground->{name}, by => $by, jobs => pick(1, 4), batch_rows => pick(40, 100, 250), settings => settings_of($ground));
	$how{arguments} = [ '--vacuum', pick('auto', 'never', 'always') ];
	$how{proxy} = $proxy if $how =~ /^wire/;
	my $run = begin_run($server, %how);
	my ($kind, $amount) = @{ pick([ 'batches', int rand 8 ], [ 'batches', int rand 8 ], [ 'wal', int rand 400_000 ], [ 'time', int rand 80 ], [ 'start', rand 0.15 ]) };
	($kind, $amount) = ('batches', int rand 8) if $kind eq 'start' && $how =~ /^backend/;
	my $title = sprintf '%d: %s after %s, %s, %s with %d jobs', $number, $names{$how}, $kind eq 'start' ? sprintf('%.0f ms of the client', 1000 * $amount) : "$amount $kind", $ground->{name}, $by, $how{jobs};
	my @pids;
	$run->{is_young} = $kind eq 'start';
	if ($run->{is_young}) { sleep $amount }
	else { @pids = moment($run, $kind, $amount) }
	my $is_struck = $how !~ /^backend/ || @pids > 0;
	strike($run, $how, pick(@pids)) if $is_struck;
	my ($status, $out, $err) = settle($run, $how);
	++$struck{$how} if $is_struck;
	++$died{$how} if answer($server, "SELECT count(*) FROM retention.runs WHERE id > $run->{since} AND stop_reason <> 'done'") > 0;
	is(audit($server, $ground), '', "G3 G4 G10 $title: all is true") or diag($status, $out, $err);
	is_report_true($run, $how, $title, $status, $out) if $by eq 'runner' && $how ne 'client KILL';
	++$ways{ $ground->{name} }{$_} for split /\n/, answer($server, "SELECT DISTINCT reason FROM retention.runs WHERE id > $run->{since} AND reason IS NOT NULL");
	return;
}

# The audit can tell: damage done by hand is seen.
{
	my ($ground) = grep { $_->{name} eq 'orders' } @grounds;
	fill_ground($server, $ground);
	is(audit($server, $ground), '', 'the audit finds nothing wrong where nothing was done');
	like(audit($server, $ground, 1), qr/due rows are left/, 'the audit sees that a job is not finished');
	answer($server, 'DELETE FROM notes WHERE id = 5');
	like(audit($server, $ground), qr/notes: 1 rows are done, the ledger says 0.*families are torn/s, 'the audit sees a row that is gone without ledger and family');
	answer($server, q{UPDATE "order" SET filler = 'x' WHERE id = 2; DELETE FROM "order" WHERE id = 7});
	like(audit($server, $ground), qr/"order": 1 rows that are not due were changed.*"order": 1 due rows are half done/s, 'the audit sees a row half done, and one that was not due');
}

my %runs_on;
for my $number (1 .. $moments)
{
	my $ground = $grounds[ ($number + int($number / @deaths)) % @grounds ];
	my $how = $deaths[ $number % @deaths ];
	my $name = $ground->{name};

	# The rest of what an earlier strike has left; now and then finished by a run that nobody strikes.
	my $left = $runs_on{$name} ? left_to_do($server, $ground) : 0;
	if ($left > 0 && $runs_on{$name} >= 4)
	{
		my $jobs = pick(1, 4);
		my ($status) = settle(begin_run($server, policy => $name, by => 'runner', jobs => $jobs, settings => settings_of($ground)), '');
		is($status, 0, "G10 $name: after $runs_on{$name} strikes the run, called again with $jobs jobs, succeeds");
		is(audit($server, $ground, 1), '', "G3 G4 G10 $name: then every due row is done, once, and in the ledger");
		$left = 0;
	}
	if ($left == 0)
	{
		fill_ground($server, $ground);
		$runs_on{$name} = 0;
	}
	++$runs_on{$name};
	crash($number, $ground, $how);
}

for my $ground (grep { $runs_on{ $_->{name} } } @grounds)
{
	my ($status) = settle(begin_run($server, policy => $ground->{name}, by => 'runner', jobs => 4, settings => settings_of($ground)), '');
	is($status, 0, "G10 $ground->{name}: at last the run succeeds");
	is(audit($server, $ground, 1), '', "G3 G4 G10 $ground->{name}: at last every due row is done, once, and in the ledger");
	my @strange = grep { !/$ground->{way}/ } keys %{ $ways{ $ground->{name} } };
	is_deeply(\@strange, [], "$ground->{name}: the runs went the way that the ground is for");
}
for my $how (sort keys %struck)
{
	note("$names{$how}: $struck{$how} strikes, " . ($died{$how} // 0) . ' met a run under way');
	cmp_ok($died{$how} // 0, '>', 0, "$names{$how} met a run under way") if $moments >= 200;
}

$server->stop;
done_testing();

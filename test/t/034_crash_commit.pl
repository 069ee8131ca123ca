# Committed runs that die at a commit: before the ledger's row is written, when everything is written and the commit begins, and
# when the commit is in the log and nobody has been told. Each commit of a run is such a moment.
#
# The run waits where it is to die: at a lock in a trigger on the ledger, or for a standby that never comes. Every boundary is tried
# with every way to die; PG_RETENTION_CRASH_BOUNDARIES tries so many, chosen by PG_RETENTION_CRASH_SEED.
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

my $seed = $ENV{PG_RETENTION_CRASH_SEED} // int(rand(1_000_000)) + $$;
srand $seed;
note("seed $seed");

my $server = crash_server('crash_commit', "synchronous_standby_names = 'nobody'\nsynchronous_commit = local\n");
my @names = qw(sessions visits letters tickets);
make_grounds($server, @names);
my %grounds = map { $_->{name} => $_ } grounds();
my $proxy = LoopbackProxy->new($server->host . '/.s.PGSQL.' . $server->port);

# Who writes the ledger may wait at a batch, in a trigger before its row or at the commit.
ask($server, q{
	CREATE TABLE watch.gate (batch int, slice int);
	CREATE FUNCTION watch.wait_here() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
		IF EXISTS (SELECT FROM watch.gate AS g JOIN retention.run AS r ON r.id = NEW.run WHERE g.batch = NEW.batch AND g.slice = COALESCE(r.slice, 1)) THEN
			PERFORM pg_advisory_xact_lock(7);
		END IF;
		RETURN NEW;
	END $$});
my %triggers = (
	'before its ledger is written' => 'CREATE TRIGGER wait_here BEFORE INSERT ON retention.batch FOR EACH ROW EXECUTE FUNCTION watch.wait_here()',
	'at its commit' => 'CREATE CONSTRAINT TRIGGER wait_here AFTER INSERT ON retention.batch DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION watch.wait_here()');
my $in_log = 'when its commit is in the log';

my %deaths = ('backend KILL' => 'kill -9 of a backend', 'postmaster QUIT' => 'an immediate shutdown', 'client KILL' => 'SIGKILL to the client', 'client TERM' => 'SIGTERM to the client',
	'client INT' => 'SIGINT to the client', 'wire cut' => 'a connection reset');
my $batch_rows = 640;
my $struck = 0;

# The process that waits for an event, as soon as there is one; nothing when the run is over before.
sub waiting_for
{
	my ($run, $event) = @_;
	my $pid = '';
	poll("a run that waits for $event", sub {
		($pid, my $over) = split /\|/, ask($server, qq{SELECT (SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'crash' AND wait_event = '$event'),
			(SELECT count(*) FROM retention.run WHERE id > $run->{since} AND stop_reason <> 'interrupted') >= $run->{jobs}});
		return $pid ne '' || $over eq 't';
	});
	return $pid;
}

# One run of `jobs` sessions that dies by `how` in batch number `batch` (of slice 1), `where` in its commit.
sub crash_at
{
	my ($ground, $by, $jobs, $how, $batch, $where) = @_;
	my $title = "$deaths{$how} in batch $batch $where, $ground->{name}, $by with $jobs jobs";
	fill_ground($server, $ground);
	my %settings = (%{ $ground->{settings} }, lock_timeout => 0, 'retention.lock_timeout' => 0);
	my %how = (policy => $ground->{name}, by => $by, jobs => $jobs, batch_rows => $jobs > 1 ? $batch_rows / 4 : $batch_rows, settings => \%settings);
	$how{arguments} = [ '--vacuum', 'never' ];
	$how{proxy} = $proxy if $how =~ /^wire/;

	my ($holder, $pid);
	if ($where eq $in_log) { $settings{synchronous_commit} = 'on' }
	else
	{
		ask($server, "TRUNCATE watch.gate; INSERT INTO watch.gate VALUES ($batch, 1); $triggers{$where}");
		$holder = holder($server);
	}
	my $run = begin_run($server, %how);
	if ($where eq $in_log)
	{
		# The commit that records the run as begun is the first, and the one at which the run may die too. Those before are let through.
		for my $commit (0 .. $batch)
		{
			$pid = waiting_for($run, 'SyncRep');
			last if $commit == $batch || $pid eq '';
			my $log = -s $server->logfile;
			ask($server, "SELECT pg_cancel_backend($pid)");
			poll('the commit that is let through', sub { slurp_file($server->logfile, $log) =~ /\[$pid\].*canceling wait for synchronous replication/ });
		}
	}
	else { $pid = waiting_for($run, 'advisory') }
	isnt($pid, '', "$title: the run is there") or return settle($run, '');

	my $told = ask($server, q{SELECT COALESCE(sum(affected), 0) FROM retention.runs WHERE id > } . $run->{since});
	strike($run, $how, $pid);
	++$struck;

	# Who lets go of the lock lets a run whose client died go on; one that waits for the standby is freed for good.
	if ($how =~ /^client|^wire/)
	{
		if ($holder) { $holder->end }
		else { ask($server, q{ALTER SYSTEM SET synchronous_standby_names = ''}, 'SELECT pg_reload_conf()') }
	}
	my ($status, $out, $err) = settle($run, $how);
	ask($server, 'DROP TRIGGER wait_here ON retention.batch') if $holder;
	is(audit($server, $ground), '', "G3 G4 G10 $title: all is true") or diag($status, $out, $err);
	my ($now, $reasons) = split /\|/, ask($server, qq{SELECT COALESCE(sum(affected), 0), string_agg(DISTINCT stop_reason, ' ' ORDER BY stop_reason) FROM retention.runs WHERE id > $run->{since}});
	if ($how =~ /^backend|^postmaster/ && $jobs == 1)
	{
		my $is_whole = $where eq $in_log;
		my $expected = $batch_rows * ($batch - ($is_whole ? 0 : 1));
		is("$now $reasons", "$expected interrupted", "G4 $title: the batch is " . ($is_whole ? 'there with its ledger' : 'undone with its ledger') . ', and the run says interrupted')
	}
	ask($server, 'ALTER SYSTEM RESET synchronous_standby_names', 'SELECT pg_reload_conf()') if $where eq $in_log && $how =~ /^client|^wire/;
	($status) = settle(begin_run($server, policy => $ground->{name}, by => 'runner', jobs => $jobs, settings => $ground->{settings}), '');
	is($status, 0, "G10 $title: the run, called again, succeeds");
	is(audit($server, $ground, 1), '', "G3 G4 G10 $title: then every due row is done, once, and in the ledger");
	return;
}

# 3,200 rows are due on each ground: five batches of one session.
my @every;
for my $name (@names)
{
	for my $jobs (1, 4)
	{
		for my $where (sort(keys %triggers), $in_log)
		{
			# With four sessions the others commit meanwhile, or wait too; slice 1 has a batch in any case.
			for my $batch ($jobs > 1 ? (1) : $where eq $in_log ? (0 .. 5) : (1 .. 5))
			{
				push @every, map { [ $name, $_ =~ /^wire/ ? 'runner' : (qw(CALL runner))[ int rand 2 ], $jobs, $_, $batch, $where ] } sort keys %deaths;
			}
		}
	}
}
my $boundaries = $ENV{PG_RETENTION_CRASH_BOUNDARIES} // @every;
my @chosen = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @every;
# Of few, each way to die at each place in the commit is among them.
my (%seen, @first, @later);
push @{ $seen{"$_->[3] $_->[5]"}++ ? \@later : \@first }, $_ for @chosen;
@chosen = (@first, @later)[ 0 .. ($boundaries < @every ? $boundaries : @every) - 1 ];
note(scalar(@chosen) . ' of ' . scalar(@every) . ' boundaries');
crash_at($grounds{ $_->[0] }, @$_[ 1 .. 5 ]) for @chosen;
is($struck, scalar(@chosen), 'each run died where it was to die');

$server->stop;
done_testing();

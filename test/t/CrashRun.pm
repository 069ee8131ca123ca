# Committed runs that are killed: how they are begun, the moments at which they die, the ways to die, and the quiet after it.
#
# A moment is waited for by a session of the test's own in shared state, and nothing is stopped meanwhile: a stopped process may hold
# what the look needs.
package CrashRun;

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use File::Temp qw(tempdir);
use JSON::PP ();
use LoopbackProxy;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetentionRunner;
use ServerSession;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(crash_server poll begin_run clients_of end_of moment strike settle gate holder open_gate);

my $folder = tempdir(CLEANUP => 1);
my $files = 0;

# A server that comes back after a crash, and the function that waits there for a moment of a run. `init` are arguments of initdb,
# `start` starts it where something has to be made ready before.
sub crash_server
{
	my ($name, $more, %with) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);
	$server->init(allows_streaming => 1, extra => $with{init} // []);
	# What the audit sorts stays in memory: a temporary file that it sees is not its own.
	$server->append_conf('postgresql.conf', "work_mem = 64MB\nrestart_after_crash = on\nautovacuum = off\nshared_buffers = 64MB\nmax_wal_size = 4GB\nmax_replication_slots = 4\n" . ($more // ''));
	($with{start} // sub { $_[0]->start })->($server);
	ask($server, q{
		CREATE EXTENSION pg_retention;
		CREATE SCHEMA watch;
		-- Waits until so many milliseconds, bytes of WAL, or batches of the ledger have passed since the runs of an application began, or
		-- since so many of them have ended; gives the processes that run still.
		CREATE FUNCTION watch.moment(app text, kind text, amount numeric, since bigint, runs int) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE
			began timestamptz;
			wal pg_lsn := pg_current_wal_insert_lsn();
			pids int[];
		BEGIN
			LOOP
				PERFORM pg_stat_clear_snapshot();
				SELECT array_agg(pid) INTO pids FROM pg_stat_activity WHERE application_name = app AND state = 'active' AND query LIKE 'CALL retention.run%';
				began := COALESCE(began, CASE WHEN pids IS NOT NULL THEN clock_timestamp() END);
				EXIT WHEN began IS NOT NULL AND CASE kind
					WHEN 'time' THEN clock_timestamp() >= began + amount * interval '1 millisecond'
					WHEN 'wal' THEN pg_current_wal_insert_lsn() - wal >= amount
					WHEN 'batches' THEN (SELECT count(DISTINCT (run, batch)) FROM retention.batch WHERE run > since) >= amount END;
				EXIT WHEN (SELECT count(*) FROM retention.run WHERE id > since AND stop_reason <> 'interrupted') >= runs;
				IF clock_timestamp() > now() + interval '3 minutes' THEN
					RAISE EXCEPTION 'the run never came to its moment';
				END IF;
				PERFORM pg_sleep(0.0005);
			END LOOP;
			RETURN array_to_string(pids, ' ');
		END $$});
	return $server;
}

# Closes the gate at a batch of slice 1: the run that comes there waits, its ledger not yet written. Gives what opens it.
sub gate
{
	my ($server, $batch) = @_;
	ask($server, qq{
		CREATE FUNCTION watch.wait_here() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN
			IF NEW.batch = $batch AND EXISTS (SELECT FROM retention.run AS r WHERE r.id = NEW.run AND COALESCE(r.slice, 1) = 1) THEN
				PERFORM pg_advisory_xact_lock(7);
			END IF;
			RETURN NEW;
		END \$\$;
		CREATE TRIGGER wait_here BEFORE INSERT ON retention.batch FOR EACH ROW EXECUTE FUNCTION watch.wait_here()});
	return holder($server);
}

# A session that holds the lock at which runs wait; its end lets them go on.
sub holder
{
	my ($server) = @_;
	my $holder = ServerSession->new($server) or die "the server does not answer\n";
	$holder->query('SELECT pg_advisory_lock(7)');
	return $holder;
}

# Opens the gate, for good.
sub open_gate
{
	my ($server, $holder) = @_;
	$holder->end;
	ask($server, 'DROP FUNCTION watch.wait_here() CASCADE');
	return;
}

# Asks until the answer is true, and fails at the end of a generous time.
sub poll
{
	my ($what, $is_so) = @_;
	my $deadline = time + 180;
	until ($is_so->())
	{
		die "$what: it never came\n" if time > $deadline;
		sleep 0.005;
	}
	return 1;
}

# A program of its own with its output in files.
sub _spawn
{
	my ($environment, @command) = @_;
	my $file = "$folder/" . ++$files;
	# A program may be killed before it is one.
	open my $out, '>', "$file.out" or die "$file.out: $!\n";
	open my $err, '>', "$file.err" or die "$file.err: $!\n";
	my $pid = fork // die "cannot fork: $!\n";
	return { pid => $pid, file => $file } if $pid;
	@ENV{ keys %$environment } = values %$environment;
	open STDIN, '<', '/dev/null';
	open STDOUT, '>&', $out;
	open STDERR, '>&', $err;
	exec { $command[0] } @command or POSIX::_exit(127);
}

# Begins to run a policy: by the runner with so many jobs, or by as many sessions of psql that CALL a slice each. With a proxy they go
# through it. `settings` are those of their sessions.
sub begin_run
{
	my ($server, %how) = @_;
	my %environment = (PGHOST => $server->host, PGPORT => $server->port, PGDATABASE => 'postgres', PGAPPNAME => 'crash', PGCONNECT_TIMEOUT => 60);
	@environment{qw(PGHOST PGPORT PGSSLMODE PGGSSENCMODE)} = ('127.0.0.1', $how{proxy}->port, 'disable', 'disable') if $how{proxy};
	$environment{PGUSER} = $how{user} if $how{user};
	$environment{PGOPTIONS} = join ' ', map { "-c $_=$how{settings}{$_}" } sort keys %{ $how{settings} };
	my %run = (server => $server, %how);
	$run{since} = answer($server, 'SELECT COALESCE(max(id), 0) FROM retention.run');
	die "the server does not answer\n" unless defined $run{since};
	if ($how{by} eq 'runner')
	{
		my @limits = $how{batch_rows} ? ('--batch-rows', $how{batch_rows}) : ();
		$run{clients} = [ _spawn(\%environment, runner_program(), 'run', $how{policy}, '--log-format=json', '--jobs', $how{jobs}, @limits, @{ $how{arguments} // [] }) ];
	}
	else
	{
		my $limits = $how{batch_rows} ? ", batch_rows => $how{batch_rows}" : '';
		for my $slice (1 .. $how{jobs})
		{
			my $part = $how{jobs} > 1 ? ", slice => $slice, slices => $how{jobs}" : '';
			push @{ $run{clients} }, _spawn(\%environment, 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-c', "CALL retention.run('$how{policy}'$limits$part)");
		}
	}
	return \%run;
}

# The client processes of a run that have not been waited for.
sub clients_of
{
	my ($run) = @_;
	return map { $_->{pid} } grep { !defined $_->{status} } @{ $run->{clients} };
}

# Waits for all clients of a run; gives the exit code ('signal N') of each, and their output and error output.
sub end_of
{
	my ($run) = @_;
	for my $client (@{ $run->{clients} })
	{
		next if defined $client->{status};
		poll("the end of client $client->{pid}", sub { waitpid($client->{pid}, POSIX::WNOHANG()) == $client->{pid} });
		$client->{status} = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
		$client->{$_} = slurp_file("$client->{file}.$_") for qw(out err);
		unlink "$client->{file}.out", "$client->{file}.err";
	}
	return (join(' ', map { $_->{status} } @{ $run->{clients} }), join('', map { $_->{out} } @{ $run->{clients} }), join('', map { $_->{err} } @{ $run->{clients} }));
}

# Waits for a moment of a run; gives the processes that serve it then, none where it had ended.
sub moment
{
	my ($run, $kind, $amount) = @_;
	# Runs that never begin (a client that fails) would be waited for in vain.
	my $pids = ask($run->{server}, "SELECT watch.moment('crash', '$kind', $amount, $run->{since}, $run->{jobs})");
	return split / /, $pids;
}

# Strikes: one of the backends, the postmaster, the clients, or the wire between. `pids` are the backends that serve the run.
sub strike
{
	my ($run, $how, @pids) = @_;
	my $server = $run->{server};
	my ($what, $signal) = split / /, $how;
	hang_up($server) if $what eq 'backend' || $what eq 'postmaster';
	if ($what eq 'backend') { kill $signal, $run->{victim} = $pids[0] }
	elsif ($what eq 'client') { kill $signal, clients_of($run) }
	elsif ($what eq 'wire') { $run->{proxy}->cut }
	elsif ($signal eq 'KILL')
	{
		chomp($run->{postmaster} = (lines(slurp_file($server->data_dir . '/postmaster.pid')))[0]);
		$server->kill9;
	}
	else { $server->stop('immediate') }
	return;
}

# Starts a server whose postmaster was killed. Its processes (they stand in its folder, one that was just forked too) see that when they
# next wait, and are waited for here; nobody may be there to take the dead postmaster off the list, and then its lock files have to go by
# hand.
sub _start_after_kill
{
	my ($run) = @_;
	my $server = $run->{server};
	my $folder = Cwd::realpath($server->data_dir);
	poll('the end of its processes', sub { !grep { (readlink // '') eq $folder } glob '/proc/[0-9]*/cwd' });
	unlink $server->data_dir . '/postmaster.pid', $server->host . '/.s.PGSQL.' . $server->port . '.lock' if kill 0, $run->{postmaster};
	$server->start;
	return;
}

# Waits until everything that a strike has set off is over: the server is back, the clients have ended, their sessions are gone.
sub settle
{
	my ($run, $how) = @_;
	my $server = $run->{server};
	if ($run->{victim})
	{
		# Who takes the dead process off the list is the postmaster, who then lets nobody in until it has cleaned up. A process that had
		# ended by itself leaves nothing to clean up.
		poll('the end of the backend', sub { !-e "/proc/$run->{victim}" });
		poll('the server coming back', sub { defined answer($server, 'SELECT') });
	}
	elsif ($how eq 'postmaster KILL')
	{
		_start_after_kill($run);
	}
	elsif ($how =~ /^postmaster/)
	{
		$server->start;
	}
	my @ended = end_of($run);
	poll('the sessions leaving', sub { (answer($server, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()}) // 1) == 0 });
	return @ended;
}

1;

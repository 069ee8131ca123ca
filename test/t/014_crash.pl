# A run that dies at any moment leaves all or nothing, and a ledger that says which.
#
# The moments are found, not guessed: the run waits for a lock that the test holds, or is stopped where its WAL shows how far
# it has come; then it is killed. lock_timeout is off for these runs, which would otherwise skip what they wait for.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $server = PostgreSQL::Test::Cluster->new('crash');
$server->init(allows_streaming => 1);
$server->append_conf('postgresql.conf', q{
restart_after_crash = on
max_wal_size = 4GB
autovacuum = off
shared_buffers = 256MB
synchronous_standby_names = 'nobody'
synchronous_commit = local
});
$server->start;
$server->safe_psql('postgres', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id), created_at timestamp);
	INSERT INTO users (last_active)
		SELECT now() AT TIME ZONE 'UTC' - CASE WHEN g % 2 = 0 THEN interval '100 days' ELSE interval '1 day' END FROM generate_series(1, 20000) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
	INSERT INTO cart_items (cart_id) SELECT c.id FROM carts AS c, generate_series(1, 10) AS n ORDER BY n, c.id;
	CREATE TABLE kept AS SELECT * FROM cart_items;
	CREATE TABLE due AS SELECT i.id FROM cart_items AS i JOIN carts AS c ON c.id = i.cart_id JOIN users AS u ON u.id = c.user_id
		WHERE u.last_active < now() AT TIME ZONE 'UTC' - interval '90 days';

	-- A row trigger that waits for a lock at one row; a constraint trigger that does so at the commit.
	CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_advisory_xact_lock(7);
		RETURN OLD;
	END $$;
	-- Waits until so much WAL is written, or the run of that process has ended; gives how much it is.
	CREATE FUNCTION wal_of(run int, begun pg_lsn, goal numeric) RETURNS numeric LANGUAGE plpgsql AS $$ BEGIN
		WHILE pg_current_wal_insert_lsn() - begun < goal LOOP
			PERFORM pg_stat_clear_snapshot();
			EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = run AND (state = 'active' OR query NOT LIKE '%cleanup%'));
		END LOOP;
		RETURN pg_current_wal_insert_lsn() - begun;
	END $$;
	ANALYZE});
my $items = $server->safe_psql('postgres', 'SELECT count(*) FROM cart_items');
my $due = $server->safe_psql('postgres', 'SELECT count(*) FROM due');
is("$items $due", '200000 100000', 'the shop has 200,000 items, half of them due');

# What WAL a run writes, from a checkpoint on: how far it has come is read from that.
my $whole_wal = $server->safe_psql('postgres', q{
	CHECKPOINT;
	SELECT pg_current_wal_insert_lsn() AS begun \gset
	BEGIN;
	SELECT FROM cleanup_inactive_carts();
	SELECT pg_current_wal_insert_lsn() - :'begun'::pg_lsn;
	ROLLBACK});
note("a run writes $whole_wal bytes of WAL");

sub ask
{
	my ($sql) = @_;
	return $server->safe_psql('postgres', $sql);
}

# Rows gone, the sum of the ledger, the runs recorded, due rows that stayed, other rows gone or changed.
sub state_now
{
	return ask(q{
		SELECT (SELECT count(*) FROM kept) - (SELECT count(*) FROM cart_items), (SELECT COALESCE(sum(affected), 0) FROM retention.ledger),
			(SELECT COALESCE(sum(affected), 0) FROM retention.runs), (SELECT count(*) FROM cart_items JOIN due USING (id)),
			(SELECT count(*) FROM (SELECT * FROM kept WHERE id NOT IN (SELECT id FROM due) EXCEPT SELECT * FROM cart_items) AS e)});
}

sub put_back
{
	return ask('TRUNCATE cart_items; INSERT INTO cart_items SELECT * FROM kept; TRUNCATE retention.run CASCADE');
}
my $nothing = "0|0|0|$due|0";
my $all = "$due|$due|$due|0|0";

# Polls for a condition over the run's row of pg_stat_activity.
sub wait_until
{
	my ($pid, $condition) = @_;
	return $server->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity AS a WHERE pid = $pid AND ($condition))");
}

# Begins the run in a session of its own; gives the session and its backend's id.
sub begin_run
{
	my ($settings) = @_;
	my $session = $server->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_safe('SET lock_timeout = 0; SET retention.lock_timeout = 0');
	$session->query_safe($settings) if $settings;
	$session->query_until(qr/begun/, "\\echo begun\nSELECT cleanup_inactive_carts();\n");
	return ($session, $pid);
}

# Ends everything at once and waits until the server is back.
sub die_by
{
	my ($how, $pid) = @_;
	if ($how eq 'kill -9 of the backend')
	{
		my $started = ask('SELECT pg_postmaster_start_time()');
		my $log = -s $server->logfile;
		kill 'KILL', $pid;
		$server->wait_for_log(qr/database system is ready to accept connections/, $log);
		$server->poll_query_until('postgres', 'SELECT true');
		is(ask('SELECT pg_postmaster_start_time()'), $started, 'the postmaster has survived the backend');
	}
	else
	{
		$server->stop('immediate');
		$server->start;
	}
	return;
}

# One moment: what makes it (statements before, a lock held meanwhile), how to know that it is there, and what must be left.
my @moments = (
	{ name => 'before the first row is looked at', lock => 'LOCK users IN ACCESS EXCLUSIVE MODE', at => q{wait_event_type = 'Lock'} },
	{ name => 'before the subjects are locked', lock => 'LOCK users IN EXCLUSIVE MODE', at => q{wait_event_type = 'Lock'} },
	{ name => 'before the path between is locked', lock => 'LOCK carts IN EXCLUSIVE MODE', at => q{wait_event_type = 'Lock'} },
	{ name => 'when everything is chosen and nothing gone', lock => 'LOCK cart_items IN SHARE MODE', at => q{wait_event_type = 'Lock'} },
	{ name => 'with a tenth of its WAL written, its subjects being locked', wal => 0.1 },
	{ name => 'with half of its WAL written', wal => 0.5 },
	{ name => 'with four fifths of its WAL written', wal => 0.8 },
	{ name => 'at the first row, by the SQL hand', row => 'min', how => ['kill -9 of the backend'] },
	{ name => 'at the row in the middle, by the SQL hand', row => 'mid' },
	{ name => 'at the last row, by the SQL hand', row => 'max', how => ['kill -9 of the backend'] },
	{ name => 'when all rows are gone and the run is not recorded', lock => 'LOCK retention.run IN SHARE MODE', at => q{wait_event_type = 'Lock'} },
	{ name => 'when the run is recorded and the ledger is not', lock => 'LOCK retention.batch IN SHARE MODE', at => q{wait_event_type = 'Lock'} },
	{ name => 'at a deferred trigger of the commit', deferred => 1, how => ['kill -9 of the backend'] },
	# A standby that never comes; nothing but these runs waits for it.
	{ name => 'when the commit is written and waits for a standby', sync => 1 },
);
my @hows = ('kill -9 of the backend', 'an immediate shutdown');
my $tried = 0;

for my $moment (@moments)
{
	for my $how (@{ $moment->{how} // \@hows })
	{
		my $title = "$how $moment->{name}";
		++$tried;

		# The ground: the trigger or the lock that the run waits for.
		if (my $row = $moment->{row})
		{
			my $id = ask($row eq 'mid' ? 'SELECT id FROM due ORDER BY id OFFSET (SELECT count(*) / 2 FROM due) LIMIT 1' : "SELECT $row(id) FROM due");
			ask("CREATE TRIGGER wait_here BEFORE DELETE ON cart_items FOR EACH ROW WHEN (OLD.id = $id) EXECUTE FUNCTION wait_here()");
		}
		ask('CREATE CONSTRAINT TRIGGER wait_here AFTER DELETE ON cart_items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_here()')
		  if $moment->{deferred};
		my $lock = $moment->{lock} // ($moment->{row} || $moment->{deferred} ? 'SELECT pg_advisory_xact_lock(7)' : undef);
		my $holder;
		if ($lock)
		{
			$holder = $server->background_psql('postgres', on_error_stop => 0);
			$holder->query_safe("BEGIN; $lock");
		}

		# The moment.
		my ($session, $pid, $is_there, $wal);
		for my $attempt (1 .. 20)
		{
			my $from = $moment->{wal} ? ask('CHECKPOINT; SELECT pg_current_wal_insert_lsn()') : undef;
			my $watch = $server->background_psql('postgres');
			($session, $pid) = begin_run($moment->{sync} ? 'SET synchronous_commit = on' : '');
			if ($moment->{wal})
			{
				# Nothing is stopped to be looked at: a stopped session may hold what the look needs.
				my $goal = int($whole_wal * $moment->{wal});
				$wal = $watch->query_safe("SELECT wal_of($pid, '$from', $goal)");
				$is_there = $wal >= $goal;
			}
			else
			{
				my $at = $moment->{at} // ($moment->{sync} ? q{wait_event = 'SyncRep'} : q{wait_event = 'advisory'});
				$is_there = wait_until($pid, $at);
			}
			die_by($how, $pid) if $is_there;
			eval { $_->{run}->kill_kill(grace => 1) } for grep { defined } $session, $holder, $watch;
			last if !$moment->{wal} || state_now() ne $all;

			# The run was faster than the eye, and whole: put its rows back and look again.
			note("$title: the run had committed");
			put_back();
		}
		ok($is_there, "$title: the run is there") or next;
		note("$title: $wal bytes of WAL were written") if $wal;

		# What is left.
		my ($gone, $ledger) = split /\|/, my $state = state_now();
		is($state, $moment->{sync} ? $all : $nothing, "G4 $title: " . ($moment->{sync} ? 'every due row is gone and in the ledger' : 'no row is gone and the ledger says so'));
		is(ask(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), 0, "G10 $title: nothing keeps the policy locked");
		if ($moment->{sync})
		{
			is(ask(q{SELECT cleanup_inactive_carts() ->> 'deleted_items'}), 0, "G10 $title: the run, called again, has nothing left to do");
			put_back();
			next;
		}
		is(ask(q{SELECT expected_rows FROM retention.preview('inactive_carts') WHERE role = 'target'}), $due, "G9 $title: all of it is still to be done");
		ask('DROP TRIGGER wait_here ON cart_items') if $moment->{row} || $moment->{deferred};

		# The job, finished; once for each way to die and each hand, because putting the rows back takes time.
		next unless $moment->{name} =~ /half of|in the middle|ledger is not/;
		is(ask(q{SELECT cleanup_inactive_carts() ->> 'deleted_items'}), $due, "G10 $title: the run, called again, finishes the job");
		is(state_now(), $all, "G4 $title: then every due row is gone and in the ledger");
		put_back();
	}
}
cmp_ok($tried, '>=', 24, 'no moment was left out: at least 24 runs were killed');

# A run that is only cancelled, in the middle: the same truth.
{
	my $id = ask('SELECT id FROM due ORDER BY id OFFSET (SELECT count(*) / 2 FROM due) LIMIT 1');
	ask("CREATE TRIGGER wait_here BEFORE DELETE ON cart_items FOR EACH ROW WHEN (OLD.id = $id) EXECUTE FUNCTION wait_here()");
	for my $how (qw(pg_cancel_backend pg_terminate_backend))
	{
		my $holder = $server->background_psql('postgres');
		$holder->query_safe('BEGIN; SELECT pg_advisory_xact_lock(7)');
		my ($session, $pid) = begin_run();
		ok(wait_until($pid, q{wait_event = 'advisory'}), "$how in the middle: the run is there");
		ask("SELECT $how($pid)");
		ok($server->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active')"), "$how in the middle ends the run");
		is(state_now(), $nothing, "G4 $how in the middle: no row is gone and the ledger says so");
		eval { $_->{run}->kill_kill(grace => 1) } for $session, $holder;
	}
	ask('DROP TRIGGER wait_here ON cart_items');
	is(ask(q{SELECT cleanup_inactive_carts() ->> 'deleted_items'}), $due, 'G10 after cancel and termination the run, called again, finishes the job');
	is(state_now(), $all, 'G4 then every due row is gone and in the ledger');
}

$server->stop;
done_testing();

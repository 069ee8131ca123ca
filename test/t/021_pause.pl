# What happens between the batches of CALL retention.run: it looks up, gives way, rests, and tells how far it is.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use BatchedRun;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $items = 4000;

my $server = PostgreSQL::Test::Cluster->new('pause');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\n");
$server->start;
make_items($server);
$server->safe_psql('postgres', q{
	CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_advisory_xact_lock(7);
		RETURN OLD;
	END $$});

sub ask { return $server->safe_psql('postgres', $_[0]) }

my $arguments = q{'old_items', batch_rows => 100};
my $holder;

# Starts a run and holds it within a batch, at an item in the middle; gives the run and how many batches it has committed.
sub hold_run
{
	my ($more, @settings) = @_;
	fill_items($server, $items);
	ask(q{CREATE TRIGGER wait_here BEFORE DELETE ON items FOR EACH ROW WHEN (OLD.id = 2000) EXECUTE FUNCTION wait_here()});
	$holder = $server->background_psql('postgres');
	$holder->query_safe('SELECT pg_advisory_lock(7)');
	my $run = start_run($server, $arguments . ($more // ''), 'lock_timeout = 0', 'retention.lock_timeout = 0', @settings);
	wait_for_run($run, q{wait_event = 'advisory'}) or die 'the run never came to the item';
	my $batches = last_run($server, 'batches');
	cmp_ok($batches, '>', 0, 'the run is held in a batch after others') or die;
	return ($run, $batches);
}

sub release_run
{
	$holder->quit;
	return;
}

# What must be left of a run that stopped early.
sub is_left
{
	my ($claim) = @_;
	ok(ledger_is_true($server, $items), "G4 $claim: the rows that are gone, the run and its ledger are one number");
	cmp_ok(ask('SELECT count(*) FROM items'), '>', 0, "$claim: some items are left");
	ask('DROP TRIGGER IF EXISTS wait_here ON items');
	return;
}

# The rest goes with the next run.
sub is_finished_by_the_next
{
	my ($claim) = @_;
	my $left = ask('SELECT count(*) FROM items');
	end_run(start_run($server, $arguments));
	is(last_run($server, 'stop_reason, affected'), "done|$left", "$claim: the next run does the rest");
	return;
}

# ---- the policy, while a run is on

for my $change (
	[ 'a policy that is paused', q{SELECT retention.pause_policy('old_items')}, q{SELECT retention.resume_policy('old_items')} ],
	[ 'a policy that is altered', q{SELECT retention.alter_policy('old_items', expire_after => '95 days')}, 'SELECT' ],
	[ 'a policy that is removed', q{SELECT retention.remove_policy('old_items')}, q{SELECT retention.add_policy('old_items', 'items', '90 days', 'created_at')} ])
{
	my ($claim, $sql, $back) = @$change;
	my ($run, $batches) = hold_run();
	ask($sql);
	is(last_run($server, 'batches'), $batches, "$claim during a batch: changing it does not wait for the run");
	release_run();
	end_run($run);
	is(last_run($server, 'stop_reason'), 'paused', "$claim during a run stops it");
	is(last_run($server, 'batches'), $batches + 1, "$claim during a run: the batch that was on is the last");
	my ($verb) = $claim =~ /is (paused|altered|removed)/;
	$verb = 'changed' if $verb eq 'altered';
	like(last_run($server, 'message'), qr/policy "old_items" was $verb/, "$claim during a run: the message says so");
	is_left($claim);
	ask($back);
	is_finished_by_the_next($claim);
}

# ---- limits

fill_items($server, $items);
end_run(start_run($server, "$arguments, max_rows => 250"));
is(last_run($server, 'stop_reason, affected'), 'max_rows|250', 'max_rows stops a run at that very number, not at the end of a batch');
is_left('max_rows');
end_run(start_run($server, "$arguments, max_rows => 1000000"));
is(last_run($server, 'stop_reason, affected'), 'done|' . ($items - 250), 'a run that stays under max_rows is done');

{
	my ($run, $batches) = hold_run(q{, max_runtime => '1 second'});
	ok($server->poll_query_until('postgres', q{SELECT clock_timestamp() > started + interval '1 second' FROM retention.runs ORDER BY id DESC LIMIT 1}), 'max_runtime passes within a batch');
	release_run();
	end_run($run);
	is(last_run($server, 'stop_reason, batches'), 'max_runtime|' . ($batches + 1), 'max_runtime stops a run after the batch that was on');
	is_left('max_runtime');
	is_finished_by_the_next('max_runtime');
}
fill_items($server, $items);
end_run(start_run($server, "$arguments, max_runtime => '1 day'"));
is(last_run($server, 'stop_reason, affected'), "done|$items", 'a run that stays under max_runtime is done');

# ---- the rate: so many rows take at least so long, less the last batch, after which nobody needs to wait

for my $how ([ 'max_rows_per_second of the call', ', max_rows_per_second => 200' ], [ 'the setting retention.max_rows_per_second', '', 'retention.max_rows_per_second = 200' ])
{
	my ($claim, $more, @settings) = @$how;
	fill_items($server, 400);
	end_run(start_run($server, q{'old_items', batch_rows => 20} . $more, @settings));
	is(last_run($server, 'stop_reason, affected'), 'done|400', "$claim: every item goes");
	is(last_run($server, q{duration >= interval '1.8 seconds'}), 't', "$claim: 400 rows at 200 a second take about 2 seconds or longer");
}

# ---- the pause between batches

fill_items($server, 100);
end_run(start_run($server, "$arguments, sleep => '1 hour'"));
is(last_run($server, 'stop_reason, affected'), 'done|100', 'nobody sleeps after the last batch');

for my $how ([ 'sleep of the call', q{, sleep => '1 hour'} ], [ 'the setting retention.batch_sleep', '', q{retention.batch_sleep = '1h'} ])
{
	my ($claim, $more, @settings) = @$how;
	fill_items($server, $items);
	my $run = start_run($server, $arguments . $more, @settings);
	ok(wait_for_run($run, q{wait_event_type IN ('Extension', 'Timeout') AND EXISTS (SELECT FROM retention.progress AS p WHERE p.pid = a.pid AND p.affected > 0)}),
		"$claim: the run sleeps after its first batch");
	is(ask(qq{SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE application_name = '$run->{name}'}), 't', "$claim: it sleeps without a snapshot");
	is(ask('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE NOWAIT; SELECT count(*) FROM (SELECT FROM items FOR UPDATE NOWAIT) AS i; ROLLBACK'), $items - last_run($server, 'affected'),
		"$claim: it sleeps without a lock on the table or a row");
	is(last_run($server, 'batches'), 1, "$claim: it has made one batch");
	ask("SELECT pg_cancel_backend(" . pid_of($run) . ')');
	like(end_run($run), qr/ERROR:  57014: /, "$claim: a cancel ends the sleep with 57014");
	is(last_run($server, 'stop_reason, batches'), 'cancelled|1', "$claim: a run cancelled in its sleep says so");
	is_left($claim);
}

# ---- a table that somebody has locked

{
	fill_items($server, $items);
	my $locker = $server->background_psql('postgres');
	my $run = start_run($server, q{'old_items', batch_rows => 1000, sleep => '2 seconds'}, q{retention.lock_timeout = '2s'});
	$server->poll_query_until('postgres', 'SELECT EXISTS (SELECT FROM retention.progress WHERE affected > 0)');
	$locker->query_safe('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE');
	my $wait = "SELECT waitstart FROM pg_locks WHERE NOT granted AND relation = 'items'::regclass";
	ok($server->poll_query_until('postgres', "SELECT EXISTS ($wait)"), 'a run waits for a table that somebody has locked');
	my $first = ask($wait);
	ok($server->poll_query_until('postgres', "SELECT EXISTS ($wait AND waitstart > '$first')"), 'a batch that could not get the lock is tried again');
	is(last_run($server, 'stop_reason'), 'interrupted', 'a run that tries again has not stopped');
	$locker->query_safe('ROLLBACK');
	end_run($run);
	is(last_run($server, 'stop_reason, affected'), "done|$items", 'a run that gets the lock after all is done');

	fill_items($server, $items);
	$run = start_run($server, "$arguments, sleep => '2 seconds'", q{retention.lock_timeout = '100ms'});
	$server->poll_query_until('postgres', 'SELECT EXISTS (SELECT FROM retention.progress WHERE affected > 0)');
	$locker->query_safe('BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE');
	end_run($run);
	is(last_run($server, 'stop_reason'), 'locked', 'a run that does not get the lock stops, and says why');
	cmp_ok(last_run($server, 'affected'), '>', 0, 'a run stopped by a lock: what was committed stays');
	$locker->quit;
	is_left('a run stopped by a lock');
	is_finished_by_the_next('a run stopped by a lock');
}

# ---- told to stop twice: the second order comes while the first is recorded

{
	my ($run) = hold_run();
	my $table = $server->background_psql('postgres');
	$table->query_safe('BEGIN; LOCK TABLE retention.run IN ACCESS EXCLUSIVE MODE');
	my $pid = pid_of($run);
	my $began = sub { return ask("SELECT xact_start FROM pg_stat_activity WHERE pid = $pid") };
	ask("SELECT pg_cancel_backend($pid)");
	ok(wait_for_run($run, q{wait_event = 'relation'}), 'a run that is cancelled waits to record it');
	my $first = $began->();
	ask("SELECT pg_cancel_backend($pid)");
	ok(wait_for_run($run, "wait_event = 'relation' AND xact_start > '$first'"), 'cancelled again, it begins its record anew');
	$table->query_safe('COMMIT');
	like(end_run($run), qr/ERROR:  57014: /, 'the order to stop goes on to the client');
	is(last_run($server, 'stop_reason'), 'cancelled', 'G4 a run that is cancelled twice is recorded as cancelled');
	$table->quit;
	release_run();
	is_left('cancelled twice');
}

# ---- cancel and termination, within a batch; progress, before and after

sub progress_of { return ask("SELECT $_[0] FROM retention.progress") }

for my $how (
	[ 'pg_cancel_backend', 'cancelled', qr/ERROR:  57014: /, 'list' ],
	[ 'pg_cancel_backend', 'cancelled', qr/ERROR:  57014: /, 'blocks' ],
	[ 'pg_terminate_backend', 'interrupted', qr/FATAL:  57P01: /, 'list' ],
	[ 'pg_terminate_backend', 'interrupted', qr/FATAL:  57P01: /, 'blocks' ])
{
	my ($function, $reason, $error, $walk) = @$how;
	my ($run, $batches) = hold_run('', "retention.walk = '$walk'");
	$function = "$function, walk $walk";
	my $pid = pid_of($run);
	my ($id, $gone) = split /\|/, last_run($server, 'id, affected');
	is($gone, ask('SELECT sum(affected) FROM retention.ledger WHERE run = ' . $id), "before $function: the run's row has what was committed");
	is(progress_of('run, policy, slice, slices, pid, affected'), "$id|old_items|||$pid|$gone", "before $function: retention.progress shows the run to another session");
	is(progress_of('started = (SELECT started FROM retention.runs WHERE id = run)'), 't', "before $function: retention.progress has its start");
	is(progress_of('share > 0 AND share < 1'), 't', "before $function: retention.progress has the share that is done");
	is(progress_of('rows_per_second > 0'), 't', "before $function: retention.progress has the rate");
	is(progress_of(q{remaining > interval '0'}), 't', "before $function: retention.progress has an estimate of what remains");
	is(progress_of("expected = $items"), 't', "before $function: retention.progress has the number of rows on the list") if $walk eq 'list';

	ask("SELECT $how->[0]($pid)");
	like(end_run($run), $error, "$function: the client gets the error");
	ok($server->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"), "$function: the session is gone");
	is(progress_of('count(*)'), 0, "$function: retention.progress shows nothing after");
	is(last_run($server, 'id, stop_reason, affected, batches'), "$id|$reason|$gone|$batches", "$function: the run says $reason with what it has committed");
	is(ask('SELECT count(*) FROM items WHERE id = 2000'), 1, "$function: the batch that was on is undone");
	release_run();
	is_left($function);
	is(ask(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 7}), 0, "G10 $function: nothing keeps the policy locked");
	is_finished_by_the_next($function);
	is(progress_of('count(*)'), 0, "after $function and another run retention.progress is empty");
}

$server->stop;
done_testing();

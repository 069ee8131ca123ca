# A run is gentle to those that live on this server's WAL: between batches it waits for standbys, slots and the archiver.
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

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 'logical');
# A receiver that a test has stopped stays connected; nothing but the tests writes WAL.
$primary->append_conf('postgresql.conf', q{
wal_sender_timeout = 0
autovacuum = off
checkpoint_timeout = 1h
max_wal_size = 4GB
archive_mode = on
archive_command = 'true'
});
$primary->start;
make_items($primary);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "wal_receiver_status_interval = 1s\n");
$standby->start;

sub ask { return $primary->safe_psql('postgres', $_[0]) }
sub poll { return $primary->poll_query_until('postgres', $_[0]) }
sub pause { $standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()'); return $standby->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) }
sub resume { return $standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()') }

# Writes so many megabytes of WAL, to the disk.
sub write_wal { ask("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1048576)) FROM generate_series(1, $_[0]); SELECT txid_current()"); return }

# Sees that a run waits between two batches: it has begun, sleeps, and is not done.
sub sees_it_wait
{
	my ($run, $claim) = @_;
	ok(wait_for_run($run, q{wait_event_type IN ('Extension', 'Timeout')}), "$claim: the run sleeps");
	my ($gone) = split /\|/, my $seen = last_run($primary, 'affected, stop_reason');
	like($seen, qr/^[1-9]\d*\|interrupted$/, "$claim: it has begun and not ended");
	cmp_ok($gone, '<', $items, "$claim: it has more to do");
	return $gone;
}

sub ends_as
{
	my ($run, $reason, $claim) = @_;
	is(end_run($run), '', "$claim: nothing is raised") if $reason eq 'done';
	$run->{handle}->finish;
	is(last_run($primary, 'stop_reason'), $reason, "$claim: the run ends as $reason");
	is(last_run($primary, 'affected'), $items, "$claim: every item is gone") if $reason eq 'done';
	ok(ledger_is_true($primary, $items), "$claim: the ledger has what is gone");
	return;
}

my $arguments = q{'old_items', batch_rows => 100};
my $never = 'retention.max_lag_wait = 0';

# ---- a standby

fill_items($primary, $items);
$primary->wait_for_catchup($standby);
ends_as(start_run($primary, $arguments, q{retention.max_replica_lag = '1min'}, q{retention.max_slot_wal = '1GB'}, 'retention.max_archive_queue = 1000', $never),
	'done', 'a standby that keeps up');

my $behind = q{SELECT replay_lag > interval '1 second' FROM pg_stat_replication WHERE application_name = 'standby'};
my $limit = 'retention.max_replica_lag = 1000';

ok(pause(), 'replay is paused');
fill_items($primary, $items);
ok(poll($behind), 'the paused standby falls behind');
{
	my $run = start_run($primary, $arguments, $limit);
	my $gone = sees_it_wait($run, 'a standby behind');
	my $lag = ask(q{SELECT replay_lag FROM pg_stat_replication WHERE application_name = 'standby'});
	ok(poll("SELECT replay_lag > interval '$lag' + interval '1 second' FROM pg_stat_replication WHERE application_name = 'standby'"), 'a standby behind: its lag grows');
	is(last_run($primary, 'affected'), $gone, 'a standby behind: meanwhile the run has removed nothing');
	ok(wait_for_run($run, q{wait_event_type IN ('Extension', 'Timeout') AND backend_xmin IS NULL AND backend_xid IS NULL}),
		'a standby behind: the waiting run sleeps without a snapshot');
	is(ask(q{SELECT count(*) FROM items}), $items - $gone, 'a standby behind: what was committed is to be seen');
	resume();
	ends_as($run, 'done', 'a standby that catches up');
}

pause();
fill_items($primary, $items);
ok(poll($behind), 'the standby is behind again');
{
	my $run = start_run($primary, $arguments, $limit, q{retention.max_lag_wait = '200ms'});
	ends_as($run, 'lag', 'a standby behind for longer than max_lag_wait');
	my $message = last_run($primary, 'message');
	like($message, qr/standby "standby" is [\d.]+ s behind \(max_replica_lag is 1 s\)/, 'a run that stopped for a standby names it, its lag and the limit');
	my $gone = last_run($primary, 'affected');
	cmp_ok($gone, '<', $items, 'a run that stopped has left something');

	end_run(start_run($primary, $arguments));
	is(last_run($primary, 'stop_reason, affected'), 'done|' . ($items - $gone), 'without a limit a run does not wait: the rest goes while replay is paused');
}

fill_items($primary, 100);
ok(poll($behind), 'the standby is still behind');
end_run(start_run($primary, $arguments, $limit, $never));
is(last_run($primary, 'stop_reason, affected'), 'done|100', 'a run that has nothing more to do does not wait for a standby');
fill_items($primary, $items);
end_run(start_run($primary, "$arguments, max_runtime => '1 second'", $limit, q{retention.max_lag_wait = '1h'}));
is(last_run($primary, 'stop_reason'), 'max_runtime', 'max_runtime ends the wait for a standby');

# The rights: the owner of the schema reads the views, not the caller.
fill_items($primary, $items);
ask(q{
	CREATE ROLE keeper;
	GRANT ALL ON ALL TABLES IN SCHEMA retention TO keeper;
	GRANT ALL ON ALL SEQUENCES IN SCHEMA retention TO keeper;
	ALTER SCHEMA retention OWNER TO keeper});
{
	my $told = end_run(my $run = start_run($primary, $arguments, $limit, 'retention.max_archive_queue = 1', $never));
	is(last_run($primary, 'stop_reason'), 'done', 'a keeper that may not see standbys: the run goes on');
	is(() = $told =~ /WARNING:  42501: cannot tell how far standbys are behind/g, 1, 'a keeper that may not see standbys is told of once');
	like($told, qr/HINT:  GRANT pg_monitor TO "keeper"\./, 'a keeper that may not see standbys: the hint has the remedy');
	is(() = $told =~ /WARNING:  42501: cannot tell how many files wait for the archiver/g, 1, 'a keeper that may not see the archive queue is told of once');
	fill_items($primary, $items);
	ask('GRANT pg_monitor TO keeper');
	end_run($run = start_run($primary, $arguments, $limit, $never));
	is(last_run($primary, 'stop_reason'), 'lag', 'a keeper with pg_monitor sees the standby behind');
	unlike($run->{err}, qr/42501/, 'a keeper with pg_monitor: nothing is missing');
}
ask(q{SELECT format('ALTER SCHEMA retention OWNER TO %I', current_user) \gexec});
resume();

# A standby that never tells on its own: its lag is the time for which it was seen to stand still, and the last lag
# that the server has measured says nothing once it has replayed all.
$standby->append_conf('postgresql.conf', "wal_receiver_status_interval = 0\n");
$standby->restart;
fill_items($primary, $items);
$primary->wait_for_catchup($standby);
pause();
# The background writer's notes of running transactions would give the standby something to tell.
my $writer = ask(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'});
kill 'STOP', $writer;
{
	my $run = start_run($primary, $arguments, 'retention.batch_sleep = 50', 'retention.max_replica_lag = 300', q{retention.max_lag_wait = '1min'});
	# A batch follows the one before within a tenth of a second, if nothing holds it up.
	ok(poll(q{
		SELECT r.stop_reason = 'interrupted' AND (SELECT max(recorded_at) FROM retention.ledger WHERE run = r.id) < clock_timestamp() - interval '2 seconds'
		FROM retention.runs AS r ORDER BY r.id DESC LIMIT 1}), 'a standby that does not answer is seen to stand still: the run waits');
	is(last_run($primary, 'stop_reason'), 'interrupted', 'a standby that does not answer: the run has not ended');
	resume();
	ends_as($run, 'done', 'a standby that does not answer, until it has replayed all');
}
kill 'CONT', $writer;
$standby->stop;

# ---- a slot

sub is_active { return poll("SELECT active = $_[0] AND restart_lsn IS NOT NULL FROM pg_replication_slots WHERE slot_name = 'copy'") }

my $held = q{SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > 4 * 1048576 FROM pg_replication_slots WHERE slot_name = 'copy'};
my $folder = $primary->basedir . '/wal';
mkdir $folder or die "cannot make a folder: $!";
ask(q{SELECT pg_create_physical_replication_slot('copy', true)});

my ($out, $err) = ('', '');
my $receiver = IPC::Run::start([ 'pg_receivewal', '-D', $folder, '-S', 'copy', '--synchronous', '--no-loop', '-d', $primary->connstr('postgres') ],
	'<', \undef, '>', \$out, '2>', \$err);
ok(is_active('true'), 'a receiver streams from the slot');
$receiver->signal('STOP');
write_wal(8);
is(ask($held), 't', 'a slot whose receiver hangs holds back WAL');
{
	fill_items($primary, $items);
	my $run = start_run($primary, $arguments, q{retention.max_replica_lag = '1ms'}, $never);
	ends_as($run, 'done', 'a receiver that only copies WAL is no standby');

	fill_items($primary, $items);
	$run = start_run($primary, $arguments, q{retention.max_slot_wal = '4MB'}, q{retention.max_lag_wait = '100ms'});
	ends_as($run, 'lag', 'a slot over the limit for longer than max_lag_wait');
	like(last_run($primary, 'message'), qr/slot "copy" holds back \d+ MB of WAL \(max_slot_wal is 4 MB\)/, 'a run that stopped for a slot names it, its WAL and the limit');

	fill_items($primary, $items);
	$run = start_run($primary, $arguments, q{retention.max_slot_wal = '4MB'});
	sees_it_wait($run, 'an active slot over the limit');
	$receiver->signal('CONT');
	ends_as($run, 'done', 'an active slot that comes under the limit');
	is(ask($held), 'f', 'the receiver has caught up');
}

$receiver->signal('STOP');
write_wal(8);
{
	fill_items($primary, $items);
	my $run = start_run($primary, $arguments, q{retention.max_slot_wal = '4MB'});
	sees_it_wait($run, 'the slot again over the limit');
	$receiver->signal('KILL');
	eval { $receiver->finish };
	ends_as($run, 'done', 'a slot that becomes inactive while a run waits for it');
	ok(is_active('false'), 'the slot is inactive');
	is(ask($held), 't', 'the inactive slot still holds back more WAL than the limit');
	fill_items($primary, $items);
	ends_as(start_run($primary, $arguments, q{retention.max_slot_wal = '4MB'}, $never), 'done', 'an inactive slot does not block');
}
ask(q{SELECT pg_drop_replication_slot('copy')});

# A subscriber confirms when it likes: it counts with its slot, not with its lag. This one is a database of the same server.
ask('CREATE DATABASE copy');
ask(q{CREATE PUBLICATION items FOR TABLE items; SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput')});
fill_items($primary, $items);
$primary->safe_psql('copy', 'CREATE TABLE items (id integer PRIMARY KEY, created_at timestamptz NOT NULL)');
$primary->safe_psql('copy', "CREATE SUBSCRIPTION subscriber CONNECTION '" . $primary->connstr . q{ dbname=postgres' PUBLICATION items
	WITH (create_slot = false, copy_data = false, slot_name = subscriber)});
ok(poll(q{SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'subscriber' AND replay_lsn = pg_current_wal_flush_lsn()}), 'a subscriber keeps up');
{
	my $locker = $primary->background_psql('copy');
	$locker->query_safe('BEGIN; LOCK TABLE items');
	fill_items($primary, $items);
	write_wal(8);
	ends_as(start_run($primary, $arguments, q{retention.max_replica_lag = '1ms'}, $never), 'done', 'a subscriber behind is no standby behind');
	fill_items($primary, $items);
	ends_as(start_run($primary, $arguments, q{retention.max_slot_wal = '4MB'}, $never), 'lag', 'the slot of a subscriber behind counts');
	like(last_run($primary, 'message'), qr/slot "subscriber" holds back/, 'a run that stopped for a subscriber names its slot');
	$locker->quit;
}
$primary->safe_psql('copy', 'DROP SUBSCRIPTION subscriber');
ask('DROP PUBLICATION items');

# ---- the archiver

my $queue = q{SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'};

sub archive_with
{
	my ($command) = @_;
	ask("ALTER SYSTEM SET archive_command = '$command'");
	$primary->reload;
	return;
}

sub fail_to_archive
{
	my $failed = ask('SELECT failed_count FROM pg_stat_archiver');
	archive_with('false');
	poll("SELECT failed_count > $failed FROM pg_stat_archiver, (SELECT txid_current(), pg_switch_wal()) AS w") or return 0;
	ask('SELECT txid_current(); SELECT pg_switch_wal()') for 1 .. 4;
	return poll("SELECT ($queue) > 2");
}

ok(poll("SELECT ($queue) = 0"), 'the archiver has nothing to do');
ok(fail_to_archive(), 'an archive command that fails makes a queue');
{
	fill_items($primary, $items);
	my $run = start_run($primary, $arguments, 'retention.max_archive_queue = 2', q{retention.max_lag_wait = '100ms'});
	ends_as($run, 'lag', 'a queue over the limit for longer than max_lag_wait');
	like(last_run($primary, 'message'), qr/[3-9] WAL files wait for the archiver \(max_archive_queue is 2\)/, 'a run that stopped for the archiver tells the queue and the limit');

	fill_items($primary, $items);
	ends_as(start_run($primary, $arguments, 'retention.max_archive_queue = 100', $never), 'done', 'a queue under the limit does not block');

	fill_items($primary, $items);
	$run = start_run($primary, $arguments, 'retention.max_archive_queue = 2');
	sees_it_wait($run, 'a queue over the limit');
	archive_with('true');
	ends_as($run, 'done', 'an archiver that catches up');
}
fail_to_archive();
ask(q{ALTER SYSTEM SET archive_mode = off});
$primary->restart;
cmp_ok(ask($queue), '>', 1, 'files of a queue are left from before archiving was switched off');
fill_items($primary, $items);
ends_as(start_run($primary, $arguments, 'retention.max_archive_queue = 1', $never), 'done', 'without archive_mode there is no queue');

$primary->stop;
done_testing();

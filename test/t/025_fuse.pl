# The fuse (G7) over sessions: what is notified, one decision for all slices, the program's exit code; and the ledger (G4) of
# slices that died.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use BatchedRun;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = PostgreSQL::Test::Cluster->new('fuse');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nrestart_after_crash = on\n");
$server->start;

sub ask { return $server->safe_psql('postgres', $_[0]) }

# What a session that listens is told when these statements have been run in it.
sub told
{
	my ($statements) = @_;
	my ($code, $out, $err) = $server->psql('postgres', "LISTEN retention; $statements; SELECT 'end'");
	return [ $out =~ /Asynchronous notification "retention" with payload "(.*)" received/g ];
}

# --- notifications
my $name = q{a "quoted" \\ 'name' über};
my $literal = q{'a "quoted" \\ ''name'' über'};
ask(qq{CREATE EXTENSION pg_retention;
	CREATE TABLE t (id int PRIMARY KEY, at timestamptz);
	INSERT INTO t SELECT g, now() - interval '100 days' FROM generate_series(1, 10) AS g;
	SELECT retention.add_policy($literal, 't', '90 days', 'at', max_rows => 9)});
is_deeply(told("BEGIN; SELECT FROM retention.apply($literal); ROLLBACK"), [], 'G7 a blow that the caller rolls back is not told');
is(ask('SELECT count(*) FROM retention.fuses'), '0', 'nor is the policy marked: all goes with the caller\'s transaction');
my $payloads = told("BEGIN; SELECT FROM retention.apply($literal); COMMIT");
is(scalar @$payloads, 1, 'G7 NOTIFY retention tells of a blow when the caller commits');
my $said = eval { JSON::PP->new->decode($payloads->[0]) } // {};
my $run = ask('SELECT run FROM retention.fuses');
is_deeply($said, { policy => $name, run_id => $run, kind => 'max_rows', expected => 10, limit => 9 }, 'its payload is JSON: policy, run, kind, rows and limit, whatever the name');
is_deeply(told("SELECT FROM retention.apply($literal)"), [], 'a run that is refused afterwards is not told again');
ask("SELECT retention.alter_policy($literal, max_rows => 8)");
is(scalar @{ told("CALL retention.run($literal)") }, 1, 'G7 CALL retention.run tells it too');
my $long = 'x' x 31 . 'ü' x 16;
ask("SELECT retention.add_policy('$long', 't', '90 days', 'at', max_rows => 0)");
$payloads = told("SELECT FROM retention.apply('$long')");
is(eval { JSON::PP->new->decode($payloads->[0])->{policy} }, $long, 'a name of 63 bytes is told whole');
ask("SELECT retention.remove_policy('$long'), retention.remove_policy($literal)");

# --- the program
ask(q{SELECT retention.add_policy('stopped', 't', '90 days', 'at', max_rows => 9)});
my ($code, $out, $err) = runner([ 'run', 'stopped', '-d', 'postgres' ], server => $server);
is($code, 5, 'the program ends with 5 where a fuse stopped a policy');
like($out, qr/10 rows of public\.t would go, but max_rows is 9/, 'and says why');
($code, $out) = runner([ 'status', '-d', 'postgres' ], server => $server);
like($out, qr/stopped .* needs approval of run \d+/, 'its status says that the policy needs an approval');
($code) = runner([ 'run', 'stopped', 'nonesuch', '-d', 'postgres' ], server => $server);
is($code, 1, 'a failure of another policy weighs more');
ask(q{SELECT retention.approve('stopped', (SELECT run FROM retention.fuses), 'looked')});
($code) = runner([ 'run', 'stopped', '-j', 2, '-d', 'postgres' ], server => $server);
is($code, 0, 'an approved run goes through, cut into slices');
is(ask('SELECT count(*) FROM t'), '0', 'G7 it takes the rows that were approved');
is(ask(q{SELECT state || ' ' || done FROM retention.approvals WHERE policy = 'stopped'}), 'used 10', 'and all slices together use the approval up');
ask(q{SELECT retention.remove_policy('stopped')});

# --- slices
ask(q{CREATE TABLE items (id integer PRIMARY KEY, created_at timestamptz NOT NULL, filler text NOT NULL);
	CREATE TABLE notes (item integer PRIMARY KEY REFERENCES items ON DELETE CASCADE);
	SELECT retention.add_policy('old_items', 'items', '90 days', 'created_at', max_rows => 4000);
	CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_advisory_xact_lock(7);
		RETURN OLD;
	END $$});

# Wide rows, so that each of two slices has some.
sub fill
{
	my ($count) = @_;
	ask(qq{TRUNCATE items CASCADE; INSERT INTO items SELECT g, now() - interval '100 days', repeat('x', 1900) FROM generate_series(1, $count) AS g; INSERT INTO notes SELECT id FROM items; ANALYZE items, notes});
	return;
}

fill(4000);
ask(q{CREATE TRIGGER wait_here BEFORE DELETE ON items FOR EACH ROW WHEN (OLD.id = 1500) EXECUTE FUNCTION wait_here()});
my $holder = $server->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(7)');
my @slow = ('lock_timeout = 0', 'retention.lock_timeout = 0');
my $first = start_run($server, q{'old_items', slice => 1, slices => 2, batch_rows => 100}, @slow);
wait_for_run($first, q{wait_event = 'advisory'}) or die 'the slice never came to the item';
ask(q{INSERT INTO items SELECT g, now() - interval '100 days', repeat('x', 1900) FROM generate_series(4001, 9000) AS g});
my $second = start_run($server, q{'old_items', slice => 2, slices => 2, batch_rows => 100}, @slow);
is(end_run($second), '', 'G7 a slice that begins later follows the decision of the first, though there are more rows now');
like(last_run($server, 'slice, affected > 1000, stop_reason'), qr/^2\|t\|done$/, 'G7 and goes to its end');

# --- a slice that dies
my $pid = pid_of($first);
my $committed = ask(q{SELECT affected FROM retention.runs WHERE policy = 'old_items' AND slice = 1});
cmp_ok($committed, '>', 0, 'the first slice has committed batches');
is(kill('KILL', $pid), 1, 'its session is killed');
$server->poll_query_until('postgres', 'SELECT true');
eval { $holder->quit };
$server->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'run_%')");
$first->{handle}->finish;
is(ask(q{SELECT stop_reason || ' ' || success || ' ' || affected FROM retention.runs WHERE policy = 'old_items' AND slice = 1}), "interrupted false $committed", 'G4 it is shown as interrupted, with what it committed');
is(ask(q{SELECT 9000 - (SELECT count(*) FROM items) = sum(affected) AND sum(affected) = (SELECT sum(affected) FROM retention.ledger WHERE relation = 'public.items')
	FROM retention.runs WHERE policy = 'old_items'}), 't', 'G4 rows gone, runs and ledger are one number over both slices');
is(ask(q{SELECT 4000 - (SELECT count(*) FROM notes) = sum(affected) AND count(DISTINCT run) = 2 FROM retention.ledger WHERE relation = 'public.notes'}), 't', 'G3 G4 so are the rows that belong to them');
is(ask(q{SELECT count(*) FROM notes AS n WHERE NOT EXISTS (SELECT FROM items AS i WHERE i.id = n.item)}), '0', 'G3 and none is left behind');
is(ask(q{SELECT bool_and(bytes > 0 AND duration > '0') FROM retention.ledger WHERE policy = 'old_items' AND relation = 'public.items'}), 't', 'G4 each of its batches is measured');

# --- both slices stopped together
fill(3000);
ask(q{DROP TRIGGER wait_here ON items; SELECT retention.alter_policy('old_items', max_rows => 100)});
my @both = map { start_run($server, qq{'old_items', slice => $_, slices => 2}) } 1, 2;
like(end_run($_), qr/WARNING: .*policy "old_items" failed/, 'G7 a slice is stopped') for @both;
is(ask(q{SELECT count(*) || ' ' || count(DISTINCT COALESCE(substring(message FROM 'since run (\d+)')::bigint, id)) FROM
	(SELECT * FROM retention.runs ORDER BY id DESC LIMIT 2) AS r WHERE stop_reason = 'fuse' AND slices = 2}), '2 1', 'G7 both wait for one approval, of one run');

# --- slices in the history
ask(q{SELECT retention.alter_policy('old_items', reset => '{max_rows}')});
for my $round (1 .. 3)
{
	fill(3000);
	runner([ 'run', 'old_items', '-j', 2, '--vacuum', 'never', '-d', 'postgres' ], server => $server);
}
is(ask(q{SELECT count(*) || ' ' || count(DISTINCT slice) FROM (SELECT * FROM retention.runs WHERE policy = 'old_items' ORDER BY id DESC LIMIT 6) r WHERE affected > 0 AND stop_reason = 'done'}), '6 2', 'three runs in two slices each');
ask(q{SELECT retention.alter_policy('old_items', max_deviation => 1.5)});
fill(4600);
is(ask(q{SELECT stop_reason FROM retention.apply('old_items')}), 'fuse', 'G7 more than one and a half times what the slices of a run took together is too much');
ask(q{SELECT retention.alter_policy('old_items', max_deviation => 1.6)});
is(ask(q{SELECT stop_reason || ' ' || affected FROM retention.apply('old_items')}), 'done 4600', 'G7 what each slice took alone is not the measure');

$server->stop;
done_testing();

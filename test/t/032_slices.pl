# G10 for slices that begin at the same moment: those of one cut share the work, and never take each other for another run;
# those of different cuts never work beside each other.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BatchedRun;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($rounds, $turns) = (6, 150);

my $server = PostgreSQL::Test::Cluster->new('slices');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nfsync = off");
$server->start;
sub ask { return $server->safe_psql('postgres', $_[0]) }
make_items($server);
# Loose pages: few rows in four stretches of blocks.
ask('ALTER TABLE items SET (fillfactor = 10)');
fill_items($server, 40000);
my $blocks = ask(q{SELECT pg_relation_size('items') / 8192});
cmp_ok($blocks, '>', 3 * 512, "the table has a stretch of blocks for each of four slices ($blocks blocks)");

# Starts runs that go off together: they are held at the lock that the gate has on the policies, until all of them wait there.
sub together
{
	my @arguments = @_;
	my $gate = $server->background_psql('postgres');
	$gate->query_safe('BEGIN; LOCK TABLE retention.policy IN ACCESS EXCLUSIVE MODE');
	my @runs = map { start_run($server, $_, q{retention.walk = 'blocks'}) } @arguments;
	wait_for_run($_, q{wait_event_type = 'Lock'}) or die 'a run never came to the gate' for @runs;
	$gate->query_safe('COMMIT');
	$gate->quit;
	return @runs;
}

# How the latest runs ended, in the order of their slices.
sub ends { my ($count, $what) = @_; return ask("SELECT string_agg(concat_ws(' ', $what), ', ' ORDER BY slices, slice) FROM (SELECT * FROM retention.runs ORDER BY id DESC LIMIT $count) AS r") }

# ---- slices of one cut

my (@ended, @left, @idle);
for my $round (1 .. $rounds)
{
	fill_items($server, 40000) if $round > 1;
	end_run($_) for together(map { "'old_items', slice => $_, slices => 4" } 1 .. 4);
	push @ended, ends(4, 'slice, stop_reason');
	push @left, ask('SELECT count(*) FROM items');
	push @idle, ask('SELECT count(*) FROM (SELECT * FROM retention.runs ORDER BY id DESC LIMIT 4) AS r WHERE affected = 0');
}
is_deeply(\@ended, [ ('1 done, 2 done, 3 done, 4 done') x $rounds ], 'G10 four slices that begin at the same moment never take each other for another run');
is_deeply(\@idle, [ (0) x $rounds ], 'each of them does its share');
is_deeply(\@left, [ (0) x $rounds ], 'together they leave nothing');

# Over and over, each session its own slice: of so many beginnings some fall into the same instant.
ask(q{CREATE PROCEDURE again(part int, times int) LANGUAGE plpgsql AS $$
	DECLARE
		r retention.result;
	BEGIN
		FOR turn IN 1 .. times LOOP
			CALL retention.run('old_items', slice => part, slices => 4, result => r);
			IF r.stop_reason <> 'done' THEN
				RAISE EXCEPTION 'slice % was told: %', part, r.message;
			END IF;
		END LOOP;
	END $$;
	TRUNCATE items});
my @sessions;
for my $slice (1 .. 4)
{
	my %session = (out => '', err => '');
	$session{psql} = IPC::Run::start([ 'psql', '-XAtq', '-d', $server->connstr('postgres'), '-c', "CALL again($slice, $turns)" ], '<', \undef, '>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout(180));
	push @sessions, \%session;
}
$_->{psql}->finish for @sessions;
is(join('', map { $_->{err} } @sessions), '', "nor in $turns turns of each beside the others");

# ---- the same slice twice, another cut, and no cut at all

# Who works is held before the ledger of its first batch, who is turned away ends; gives those who work at once.
sub at_work
{
	my @arguments = @_;
	fill_items($server, 4000);
	my $holder = $server->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK TABLE retention.batch IN SHARE MODE');
	my @runs = together(@arguments);
	my $names = join ', ', map { "'$_->{name}'" } @runs;
	$server->poll_query_until('postgres', qq{SELECT NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE application_name IN ($names) AND NOT EXISTS (SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND NOT l.granted AND l.relation = 'retention.batch'::regclass))})
		or die 'a run neither waited nor ended';
	my $working = ask("SELECT count(*) FROM pg_stat_activity WHERE application_name IN ($names)");
	$holder->query_safe('COMMIT');
	$holder->quit;
	end_run($_) for @runs;
	return $working;
}

for my $case (
	[ 'the same slice', [ map { "'old_items', slice => 1, slices => 4" } 1 .. 3 ] ],
	[ 'a slice and the whole', [ "'old_items', slice => 1, slices => 4", "'old_items'" ] ],
	[ 'the whole', [ map { "'old_items'" } 1 .. 3 ] ],
	[ 'a slice of two and one of four', [ "'old_items', slice => 1, slices => 2", "'old_items', slice => 1, slices => 4" ] ])
{
	my ($name, $arguments) = @$case;
	my @working = map { at_work(@$arguments) } 1 .. 4;
	is_deeply([ grep { $_ > 1 } @working ], [], "G10 $name, begun at the same moment: never two of them work");
	is_deeply([ grep { $_ == 0 } @working ], [], "$name, begun at the same moment: one of them works") if $name !~ /two/;
}
is(ask(q{SELECT count(*) FROM retention.runs WHERE stop_reason NOT IN ('done', 'running')}), '0', 'who is turned away is told so, and nobody fails');
is(ask(q{SELECT count(*) FROM retention.runs WHERE stop_reason = 'running' AND affected <> 0}), '0', 'who is turned away has done nothing');

$server->stop;
done_testing();

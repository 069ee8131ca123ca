# Runs beside sessions at work: they go slowly, in small batches far apart, and at full speed where nobody else works.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BatchedRun;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $items = 4000;
# Full speed is four batches here, which last longer than two looks around.
my @pace = ('retention.batch_max_rows = 1000', 'retention.batch_sleep = 60');

my $server = PostgreSQL::Test::Cluster->new('throttle');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
$server->start;
make_items($server);
sub ask { return $server->safe_psql('postgres', $_[0]) }

# A shop: so many clients that are never at rest for long, until close_shop().
my $script = PostgreSQL::Test::Utils::tempdir() . '/shop.sql';
append_to_file($script, "SELECT 1;\n\\sleep 5 ms\n");
my ($shop, $said);

sub open_shop
{
	my ($clients, $name) = (@_, 'shop');
	$said = '';
	$shop = IPC::Run::start([ 'pgbench', '-n', '-f', $script, '-c', $clients, '-T', 600, $server->connstr('postgres') . " application_name=$name" ], '<', \undef, '>', \$said, '2>', \$said);
	$server->poll_query_until('postgres', "SELECT count(*) = $clients FROM pg_stat_activity WHERE application_name = '$name' AND state_change > now() - interval '1s'") or die "the shop does not open: $said";
	return;
}

sub close_shop
{
	my ($name) = (@_, 'shop');
	ask("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = '$name'");
	$shop->finish;
	return;
}

# A run over all the items; gives its batches and whether it tells that it went slowly.
sub run_once
{
	my ($claim, $arguments, @settings) = @_;
	fill_items($server, $items);
	# Whose session has just ended counts no longer.
	usleep(200_000);
	is(end_run(start_run($server, $arguments, @pace, @settings)), '', "$claim: the run ends by itself");
	ok(ledger_is_true($server, $items), "G4 $claim: the rows that are gone, the run and its ledger are one number");
	is(ask('SELECT count(*) FROM items'), 0, "$claim: all due items go");
	return (last_run($server, 'batches'), last_run($server, 'reason') =~ /slowly while other sessions worked/ ? 1 : 0);
}

is_deeply([ run_once('alone', q{'old_items'}) ], [ 4, 0 ], 'alone: full speed');

open_shop(1);
is_deeply([ run_once('beside one client', q{'old_items'}) ], [ 4, 0 ], 'beside one client: full speed; it may be who looks on');
close_shop();

open_shop(6);
for my $walk (qw(blocks list)) {
	for my $hand (qw(on off)) {
		my $claim = "beside a shop, walk $walk, direct $hand";
		my ($batches, $is_told) = run_once($claim, q{'old_items'}, "retention.walk = $walk", "retention.direct = $hand");
		cmp_ok($batches, '>', 4, "$claim: smaller batches");
		is($is_told, 1, "$claim: the run tells that it went slowly");
	}
}
is_deeply([ run_once('short', q{'old_items'}, 'retention.batch_max_rows = 4000') ], [ 1, 0 ], 'a run that is over soon is not slowed down');
is_deeply([ run_once('switched off', q{'old_items'}, 'retention.throttle = off') ], [ 4, 0 ], 'retention.throttle off: full speed');
is_deeply([ run_once('with rows a batch', q{'old_items', batch_rows => 1000}) ], [ 4, 0 ], 'who says how many rows a batch has gets them');
{
	fill_items($server, $items);
	is(end_run(start_run($server, q{'old_items', max_runtime => '150 ms'}, @pace)), '', 'max_runtime beside a shop: the run ends by itself');
	is(last_run($server, 'stop_reason'), 'max_runtime', 'max_runtime counts pauses too');
	ok(ledger_is_true($server, $items), 'G4 max_runtime beside a shop: the rows that are gone, the run and its ledger are one number');
}
# The keeper sees what it has a right to see.
ask(q{CREATE ROLE keeper; GRANT ALL ON SCHEMA public TO keeper; ALTER SCHEMA retention OWNER TO keeper; GRANT ALL ON ALL TABLES IN SCHEMA retention, public TO keeper; GRANT ALL ON ALL SEQUENCES IN SCHEMA retention TO keeper});
is_deeply([ run_once('without rights', q{'old_items'}) ], [ 4, 0 ], 'a keeper who may not see other sessions sees nobody at work');
ask(q{GRANT pg_read_all_stats TO keeper});
is((run_once('with rights', q{'old_items'}))[1], 1, 'with pg_read_all_stats it does');
close_shop();

# Sessions of the program are no neighbours of each other, nor is one in a long statement, as the slices of a run are.
open_shop(6, 'pg_retention');
is_deeply([ run_once('beside the program', q{'old_items'}) ], [ 4, 0 ], 'sessions of the program do not slow each other down');
close_shop('pg_retention');
my @long = map { $server->background_psql('postgres') } 1 .. 3;
$_->query_until(qr/begun/, "\\echo begun\nSELECT pg_sleep(600);\n") for @long;
is_deeply([ run_once('beside reports', q{'old_items'}) ], [ 4, 0 ], 'long statements are no work');
ask(q{SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%'});
$_->{run}->finish for @long;

$server->stop;
done_testing();

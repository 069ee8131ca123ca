# Correct under fire: writers, VACUUM and cleanups beside each other, with one job and with four, and afterwards an audit of
# everything that was ever written.
#
#   PG_RETENTION_STRESS_SECONDS=n   how long (15)
#   PG_RETENTION_STRESS_SEED=n      what the writers and cleaners do (1)
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use StressAudit;
use StressGround;
use StressHistory;
use Test::More;

my $seconds = $ENV{PG_RETENTION_STRESS_SECONDS} || 15;
my $seed = $ENV{PG_RETENTION_STRESS_SEED} || 1;
my $writers = 4;

my $server = PostgreSQL::Test::Cluster->new('stress');
$server->init(allows_streaming => 'logical');
$server->append_conf('postgresql.conf', q{
fsync = off
client_min_messages = error
max_connections = 40
deadlock_timeout = 50ms
autovacuum = on
autovacuum_naptime = 1s
autovacuum_max_workers = 3
autovacuum_vacuum_threshold = 1
autovacuum_vacuum_scale_factor = 0
autovacuum_vacuum_insert_threshold = 1
autovacuum_vacuum_insert_scale_factor = 0
autovacuum_analyze_threshold = 1
autovacuum_analyze_scale_factor = 0
autovacuum_vacuum_cost_delay = 0
vacuum_freeze_min_age = 0
});
$server->start;
sub ask { my ($sql) = @_; return $server->safe_psql('postgres', $sql) }

begin_history($server);
lay_ground($server);
my $until = ask("SELECT now() + interval '$seconds seconds'");

# Starts a session that runs a script and ends by itself.
my $folder = PostgreSQL::Test::Utils::tempdir();

sub session
{
	my ($name, $script, %with) = @_;
	my %session = (name => $name, out => '', err => '', %with);
	PostgreSQL::Test::Utils::append_to_file("$folder/$name.sql", $script);
	$session{psql} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=' . ($with{goes_on} ? 0 : 1), '-v', 'VERBOSITY=verbose', '-d', $server->connstr('postgres') . " application_name=$name", '-f', "$folder/$name.sql" ],
		'<', \undef, '>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout($seconds + 600));
	return \%session;
}

# The part of the seed that is one session's, from -1 to 1.
my $sessions = 0;
sub share { return sin($seed * 100 + ++$sessions) }

# VACUUM without an end, plain and freezing, and now and then a table written anew.
sub vacuum_script
{
	my @often = map { "VACUUM $_;" } 'users, carts, items', '(FREEZE) users, people, items', 'sessions, messages, images, videos', 'lines, bookings', '(FREEZE) lines, images, bookings';
	my @rarely = ('VACUUM FULL users;', 'VACUUM FULL items_2;', 'CLUSTER carts USING carts_pkey;', 'VACUUM FULL lines_1;', 'VACUUM FULL sessions;', 'VACUUM FULL bookings;', 'REINDEX TABLE users;');
	my $stop = "SELECT now() > '$until' AS is_over \\gset\n\\if :is_over\n\\q\n\\endif\n";
	return join '', map { join "\n", @often, @often, $rarely[ $_ % @rarely ], $stop } 1 .. 100 * $seconds;
}

my @sessions = map { session("writer_$_", sprintf q{CALL write(%d, %.6f, '%s')}, $_, share(), $until) } 1 .. $writers;
push @sessions, session('holder', sprintf q{CALL hold(%d, %.6f, '%s')}, $writers + 1, share(), $until);
push @sessions, session('vacuum', vacuum_script(), goes_on => 1);
push @sessions, session('cleaner_1', sprintf q{CALL clean('{items, sessions, lines, bookings}', %.6f, '%s')}, share(), $until);
push @sessions, session('cleaner_2', sprintf q{CALL clean('{items_asked, lines_asked, items, sessions}', %.6f, '%s')}, share(), $until);

# Meanwhile the program, with four jobs: one policy in slices, then several side by side.
my (@failed, %calls);
my @walks = qw(auto blocks list);
while (ask("SELECT now() < '$until'") eq 't')
{
	my $turn = $calls{program}++;
	my @policies = $turn % 3 == 2 ? qw(items sessions lines bookings) : (qw(items_jobs lines sessions items_jobs bookings items_asked))[ $turn % 6 ];
	my ($code, $out, $err) = runner([ 'run', '--jobs', 4, '--batch-rows', 50, '--vacuum', $turn % 5 == 0 ? 'always' : 'never', @policies ],
		server => $server, env => { PGOPTIONS => '-c retention.walk=' . $walks[ int($turn / 4) % @walks ] });
	my @wrong = grep { / failed: / && !/SQLSTATE (?:55P03|40P01|40001)/ } lines($out);
	push @failed, "$code: @wrong: $err" if @wrong || $code !~ /^[01]$/;
}
is_deeply(\@failed, [], 'the program with four jobs ends well every time, but for tables that are locked for long');
for my $session (@sessions)
{
	$session->{psql}->finish;
	# A table that is written anew may meet a statement that has one partition and waits for another.
	$session->{err} =~ s/^psql:\S+ ERROR:  40P01: .*\n(?:(?!psql:).*\n)*//mg if $session->{goes_on};
	is($session->{err}, '', "$session->{name} came to its end");
	note("$session->{name}: $session->{out}");
}
is(ask('SELECT string_agg(who || $$: $$ || what, $$; $$) FROM problems'), '', 'every run of the cleaners succeeded');

# ---- what is left is taken by a run that nobody disturbs

ask("SET retention.walk = $walks[ $seed % @walks ]; CALL retention.run('$_')") for qw(items sessions lines bookings);
is(ask(q{SELECT string_agg(name || ' ' || p.expected_rows, ', ') FROM retention.policies, retention.preview(name) AS p WHERE p.role = 'target' AND p.expected_rows <> 0}), '', 'G9 nothing that is due is left, nor lost from sight');
is(ask(q{SELECT count(*) FROM items AS i JOIN carts AS c ON c.id = i.cart_id JOIN users AS u ON u.id = c.user_id WHERE u.last_active < '2021-01-01'}), '0', 'no item of an inactive user is left');
is(ask(q{SELECT count(*) FROM bookings WHERE status = 'Pending' AND at < '2021-01-01'}), '0', 'no due booking is pending');

# ---- the audit

my ($problems, $sum) = audit(read_history($server));
my %claims = (
	replay => 'the history is whole: every change finds the row that was written before',
	G1 => 'G1 no row went whose subject, or which itself, was young by anything written before the last look',
	G2 => 'G2 cleanups changed nothing but targets and dependents',
	G3 => 'G3 a session went with all its images and videos, and no image or video without its session',
	G4 => 'G4 the ledger of every batch tells what went in its transaction');
for my $claim (qw(replay G1 G2 G3 G4))
{
	my @found = map { $_->[1] } grep { $_->[0] eq $claim } @$problems;
	is(scalar(@found), 0, $claims{$claim});
	diag(join "\n", @found > 20 ? @found[ 0 .. 19 ] : @found) if @found;
}
is(ask('SELECT count(*) FROM retention.runs AS r WHERE affected <> (SELECT COALESCE(sum(l.affected), 0) FROM retention.ledger AS l WHERE l.run = r.id AND l.action <> $$dependent$$)'), '0', 'G4 every run tells the sum of its ledger');
is(ask('SELECT count(*) FROM retention.runs WHERE stop_reason NOT IN ($$done$$, $$running$$, $$locked$$) AND sqlstate IS DISTINCT FROM $$55P03$$'), '0', 'every run came to its end, found another under way, or a table locked');

# What the history leaves standing is what the tables have.
my %keys = (users => 'last_active', carts => 'user_id', items => 'part, cart_id', sessions => 'person_id', messages => 'person_id', images => 'part, session_id', videos => 'session_id', lines => 'part, at', bookings => 'status, at, times');
for my $table (sort keys %keys)
{
	my @columns = ('id', split /, /, $keys{$table});
	my $rows = standing()->{$table};
	my @told = map { my $row = $rows->{$_}; join '|', map { my $value = $row->{$_}; $value eq 'null' ? '' : $value =~ tr/'//dr } @columns } sort { $a <=> $b } keys %$rows;
	my $there = ask('SELECT ' . join(', ', @columns) . " FROM $table ORDER BY id");
	ok($there eq join("\n", @told), "$table: the history leaves what the table has, " . @told . ' rows');
}

# ---- that it was hot

cmp_ok($sum->{$_} // 0, '>', 0, "cleanups removed or changed rows of $_") for qw(items sessions images videos lines bookings);
my %met = map { $_ => ask("SELECT sum(skipped_$_) FROM retention.runs") } qw(locked returned);
cmp_ok($met{$_}, '>', 0, "cleanups met rows that were $_") for sort keys %met;
for my $way ('direct blocks', 'direct list', 'sql blocks', 'sql list')
{
	my ($hand, $walk) = split / /, $way;
	cmp_ok(ask("SELECT count(*) FROM retention.runs WHERE hand = '$hand' AND walk = '$walk'"), '>', 0, "runs went by $way");
}
cmp_ok(ask('SELECT count(*) FROM (SELECT FROM retention.runs WHERE slices = 4 AND affected > 0 GROUP BY slice) AS s'), '>', 1, 'slices shared the work');
diag(sprintf 'seed %d: %d transactions, %d changes, %d batches of %d runs; removed or changed %s; skipped %s', $seed, @$sum{qw(transactions changes batches)}, ask('SELECT count(*) FROM retention.runs'),
	join(', ', map { "$_ " . ($sum->{$_} // 0) } qw(items sessions images videos lines bookings)), join(', ', map { "$_ $met{$_}" } sort keys %met));
$server->stop;
done_testing();

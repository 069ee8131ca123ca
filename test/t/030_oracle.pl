# Any schema, held against an oracle: random schemas, rows and policies, of which a brute-force statement that knows
# nothing of the engine says what must become of every row.
#
#   PG_RETENTION_ORACLE_CASES=n   how many cases (300); thousands for a long night
#   PG_RETENTION_ORACLE_FIRST=n   the seed of the first (1)
#   PG_RETENTION_ORACLE_SEED=n    that case alone, with its script
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use OracleCase;
use OracleRun;
use OracleTruth;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Says aside what may hold any letters.
sub aside { my ($text) = @_; utf8::encode($text); return diag($text) }

my $only = $ENV{PG_RETENTION_ORACLE_SEED};
my $first = $ENV{PG_RETENTION_ORACLE_FIRST} || 1;
my @seeds = defined $only ? ($only) : ($first .. $first + ($ENV{PG_RETENTION_ORACLE_CASES} || 300) - 1);
my $workers = @seeds > 1 ? 2 : 1;
my $chunk = 25;

my $server = PostgreSQL::Test::Cluster->new('oracle');
$server->init;
$server->append_conf('postgresql.conf', q{
client_min_messages = error
log_min_messages = fatal
log_min_error_statement = panic
log_statement = none
autovacuum = off
jit = off
fsync = off
max_locks_per_transaction = 256
});
$server->start;
for my $worker (1 .. $workers)
{
	$server->safe_psql('postgres', "CREATE DATABASE worker_$worker TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
	$server->safe_psql("worker_$worker", 'CREATE EXTENSION pg_retention;' . ground_sql() . run_ground_sql());
}

my $folder = PostgreSQL::Test::Utils::tempdir();

# Begins the cases of these seeds in one session.
sub begin
{
	my ($worker, $part, @cases) = @_;
	my $is_alone = $part =~ /^alone/ || @seeds == 1;
	my $file = "$folder/$part.sql";
	open my $out, '>:encoding(UTF-8)', $file or die "$file: $!\n";
	print $out case_script($_) for @cases;
	close $out or die "$file: $!\n";
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	my $psql = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=' . ($is_alone ? 1 : 0), '-d', $server->connstr("worker_$worker"), '-f', $file ],
		'<', \undef, '>', "$folder/$part.out", '2>', "$folder/$part.err");
	return { psql => $psql, part => $part, worker => $worker };
}

# What each case of a session found, by seed.
sub findings
{
	my ($run) = @_;
	$run->{psql}->finish;
	my (%found, $seed);
	open my $in, '<:encoding(UTF-8)', "$folder/$run->{part}.out" or die "$run->{part}: $!\n";
	while (my $line = <$in>)
	{
		chomp $line;
		next unless $line =~ s/^@@ //;
		if ($line =~ /^case (\d+)$/) { $seed = $1; next }
		push @{ $found{$seed} }, $line;
	}
	close $in;
	return \%found;
}

sub errors_of
{
	my ($run) = @_;
	open my $in, '<:encoding(UTF-8)', "$folder/$run->{part}.err" or return '';
	local $/;
	return scalar <$in>;
}

my (%shapes, %refused, %sum);
my $cases = 0;

# Says of one case whether the engine agreed.
sub judge
{
	my ($case, $run, $found) = @_;
	my $verdict = verdict($case, @{ $found->{ $case->{seed} } || [] });
	if (!$verdict->{is_done} && @seeds > 1)
	{
		# Alone, to hear its own errors; the session may have ended with another's.
		$run = begin($run->{worker}, "alone_$case->{seed}", $case);
		$verdict = verdict($case, @{ findings($run)->{ $case->{seed} } || [] });
	}
	$cases++;
	if ($verdict->{refused}) { $refused{ $verdict->{refused} }++ }
	else
	{
		$shapes{$_}++ for shapes($case);
		$sum{cases_with_victims}++ if $verdict->{victims};
		$sum{cases_with_blocked}++ if $verdict->{blocked};
		$sum{cases_the_schema_fails}++ if $verdict->{failing};
		$sum{runs_judged_loosely} += $verdict->{loose};
		$sum{cases_with_a_second_harvest}++ if $verdict->{second};
		$sum{victims} += $verdict->{victims};
		$sum{blocked} += $verdict->{blocked};
	}
	my $claim = $verdict->{refused} ? 'the definition is refused as it must be' : 'the run, the preview, the ledger and the archives are what the oracle says';
	return if ok(!@{ $verdict->{problems} }, "seed $case->{seed}: $claim");
	my @problems = map { length > 400 ? substr($_, 0, 400) . '...' : $_ } @{ $verdict->{problems} };
	aside(join "\n", defined $only || @problems <= 8 ? @problems : (@problems[ 0 .. 7 ], 'and ' . (@problems - 8) . ' more'));
	aside($case->{policy}{def});
	aside(errors_of($run)) if !$verdict->{is_done};
	aside("PG_RETENTION_ORACLE_SEED=$case->{seed} shows the script");
	return;
}

my @parts = map { [ @seeds[ $_ * $chunk .. ($_ * $chunk + $chunk - 1 < $#seeds ? $_ * $chunk + $chunk - 1 : $#seeds) ] ] } 0 .. int($#seeds / $chunk);
my @free = 1 .. $workers;
my @running;
for my $part (0 .. $#parts + $workers)
{
	if ($part > $#parts || !@free)
	{
		my $run = shift @running or last;
		my $found = findings($run);
		is(errors_of($run), '', "$run->{part}: no statement fails but in the hands of the engine");
		judge($_, $run, $found) for @{ $run->{cases} };
		push @free, $run->{worker};
	}
	next if $part > $#parts;
	my @made = map { make_case($_) } @{ $parts[$part] };
	push @running, { %{ begin(shift @free, "part_$part", @made) }, cases => \@made };
}

if (defined $only)
{
	aside('SET client_min_messages = error; CREATE EXTENSION pg_retention;' . "\n" . ground_sql() . run_ground_sql() . case_script(make_case($only)));
}
aside(sprintf '%s: %d', $_ =~ tr/_/ /r, $sum{$_}) for sort keys %sum;
aside("refused with $_: $refused{$_}") for sort keys %refused;
note("$_: $shapes{$_}") for sort keys %shapes;
my $refusals = 0;
$refusals += $_ for values %refused;
is($cases, @seeds, 'every case was judged');
cmp_ok($refusals * 3, '<=', $cases, 'no more than a third of the definitions is refused') if @seeds > 2;
$server->stop;
done_testing();

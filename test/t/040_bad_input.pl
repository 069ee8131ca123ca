# G11 bad input: every SQL function of the extension, as the catalog lists them, under hostile arguments and settings, in databases of
# three encodings. The server stays up, no error is internal, each error of our own is documented, an error changes nothing,
# and what is accepted is a definition that can be explained, previewed, run, exported, imported and removed.
#
#   PG_RETENTION_HOSTILE_CASES=n   how many cases (10,000)
#   PG_RETENTION_HOSTILE_FIRST=n   the seed of the first (1)
#   PG_RETENTION_HOSTILE_SEED=n    that case alone, with its script
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BadInput;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $only = $ENV{PG_RETENTION_HOSTILE_SEED};
my $first = $ENV{PG_RETENTION_HOSTILE_FIRST} || 1;
my @seeds = defined $only ? ($only) : ($first .. $first + ($ENV{PG_RETENTION_HOSTILE_CASES} || 10_000) - 1);
my $workers = @seeds > 1 ? 2 : 1;
my $chunk = 250;
my @encodings = qw(UTF8 LATIN1 SQL_ASCII);

my $server = PostgreSQL::Test::Cluster->new('bad_input');
$server->init;
$server->append_conf('postgresql.conf', q{
log_min_messages = fatal
log_min_error_statement = panic
log_statement = none
autovacuum = off
fsync = off
jit = off
restart_after_crash = on
});
$server->start;
$server->safe_psql('postgres', 'CREATE ROLE shop LOGIN');
my $ground = slurp_file("$FindBin::RealBin/bad_input.sql");
for my $worker (1 .. $workers)
{
	for my $encoding (@encodings)
	{
		my $name = lc "bad_${encoding}_$worker";
		$server->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
		$server->safe_psql($name, $ground);
	}
}

# What the extension has to call, by signature: its name, its SQL name, and its arguments in order.
sub functions
{
	my %functions;
	my $listed = $server->safe_psql('bad_utf8_1', q{
		SELECT p.oid::regprocedure, quote_ident(n.nspname) || '.' || quote_ident(p.proname), p.proname, p.prokind = 'p', a.name, format_type(a.type, NULL), a.place > p.pronargs - p.pronargdefaults
		  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_retention' JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace n ON n.oid = p.pronamespace
		  LEFT JOIN LATERAL (SELECT u.name, u.type, row_number() OVER (ORDER BY u.number) AS place
			FROM unnest(COALESCE(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes, p.proargnames) WITH ORDINALITY AS u (type, mode, name, number) WHERE COALESCE(u.mode, 'i') IN ('i', 'b', 'v')) AS a ON true
		 WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' ORDER BY 1, a.place});
	for my $line (split /\n/, $listed)
	{
		my ($signature, $sql, $name, $is_procedure, $argument, $type, $is_optional) = split /\|/, $line, -1;
		my $function = $functions{$signature} //= { signature => $signature, name => $name, sql => $sql, is_procedure => $is_procedure eq 't', arguments => [] };
		push @{ $function->{arguments} }, { name => $argument, type => $type, is_optional => $is_optional eq 't' } if $argument ne '';
	}
	return \%functions;
}

my $functions = functions();
my $patterns = documented(slurp_file("$FindBin::RealBin/../../doc/errors.md"));
my $folder = PostgreSQL::Test::Utils::tempdir();
my (%count, %calls, %wrong);

# The encoding that a seed's case has; the cases of a session share it.
sub encoding_of { my ($part) = @_; return $encodings[ $part % 5 < 3 ? 0 : $part % 5 - 2 ] }

# Begins the cases of these seeds in one session.
sub begin
{
	my ($worker, $part, @cases) = @_;
	my $encoding = encoding_of($part);
	open my $out, '>:raw', "$folder/$part.sql" or die "$part: $!\n";
	print $out "SELECT bad.remember();\n";
	my $number = 0;
	for my $seed (@cases)
	{
		my $case = make_call($seed, $encoding, $functions);
		$calls{ $case->{signature} }++;
		my $script = call_script($case);
		note($script) if defined $only;
		print $out $script;
		print $out "SELECT bad.compare($seed);\n" if ++$number % 50 == 0 || $number == @cases;
	}
	close $out or die "$part: $!\n";
	local $ENV{PGCLIENTENCODING} = $encoding;
	local $ENV{PGOPTIONS} = '-c client_min_messages=error -c statement_timeout=30s -c lock_timeout=5s';
	my $psql = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-U', 'shop', '-v', 'VERBOSITY=verbose', '-v', 'SHOW_CONTEXT=never', '-d', $server->connstr(lc "bad_${encoding}_$worker"), '-f', "$folder/$part.sql" ],
		'<', \undef, '>', '/dev/null', '2>', "$folder/$part.err");
	return { psql => $psql, part => $part, worker => $worker, cases => scalar @cases };
}

sub finish
{
	my ($run) = @_;
	$run->{psql}->finish;
	my $before = $count{cases} || 0;
	open my $in, '<:raw', "$folder/$run->{part}.err" or die "$run->{part}: $!\n";
	my $said = do { local $/; <$in> };
	my $found = judge_output($patterns, $said, \%count);
	$wrong{$_} = $found->{$_} for keys %$found;
	note($said) if defined $only;
	my $of = "session $run->{part} (" . encoding_of($run->{part}) . ')';
	is($count{cases} - $before, $run->{cases}, "G11 $of reached its last case");
	return if ok(!%$found, "G11 $of: no error is internal or undocumented, and none has changed anything");
	my @first = (sort { $a <=> $b } keys %$found)[ 0 .. 19 ];
	diag(map { my $seed = $_; map { substr("seed $seed (part $run->{part}): $_", 0, 700) . "\n" } @{ $found->{$seed} } } grep { defined } @first);
	return;
}

# A seed belongs to the part of its number, so that one alone meets the same encoding.
my %parts;
push @{ $parts{ int($_ / $chunk) } }, $_ for @seeds;
my @free = 1 .. $workers;
my @running;
for my $part (sort { $a <=> $b } keys %parts)
{
	if (!@free) { my $run = shift @running; finish($run); push @free, $run->{worker} }
	push @running, begin(shift @free, $part, @{ $parts{$part} });
}
finish($_) for @running;

my $log = slurp_file($server->logfile);
unlike($log, qr/PANIC|was terminated by signal|server process .* exited with exit code/, 'G11 the server never crashed');
is(scalar(keys %wrong), 0, sprintf 'G11 nothing was found in %d cases', $count{cases});
if (!defined $only)
{
	is_deeply([ grep { !$calls{$_} } sort keys %$functions ], [], 'G11 every function of the extension was called');
	cmp_ok($count{defined} || 0, '>', @seeds / 50, 'G11 enough definitions were accepted that what they hold was tried');
	cmp_ok(scalar(keys %{ $count{errors} }), '>', 15, 'G11 errors of many kinds were met') if @seeds >= 5000;
	note("$count{cases} cases, " . ($count{defined} || 0) . ' definitions accepted');
	note("raised: " . join(', ', map {"$_ $count{errors}{$_}"} sort keys %{ $count{errors} }));
	note("told: " . join(', ', map {"$_ $count{told}{$_}"} sort keys %{ $count{told} || {} }));
}
$server->stop;
done_testing();

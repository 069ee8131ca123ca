# G11 bad input of the program: every option that its help shows, under hostile values, policies, connection strings and environments. It
# ends with one of its exit codes and one clear message, prints nothing half on standard output, and changes no row.
#
#   PG_RETENTION_HOSTILE_FIRST=n   the seed of the first case (1)
#   PG_RETENTION_HOSTILE_RUNS=n    how many cases (300)
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Digest::MD5 qw(md5);
use Encode ();
use JSON::PP ();
use OracleDice;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RetentionRunner;
use Test::More;

my $server = PostgreSQL::Test::Cluster->new('options');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
$server->start;
$server->safe_psql('postgres', "CREATE DATABASE market; CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'; CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
# Rows that no policy expires, so that nothing may change whatever is asked.
my $ground = q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE x (id int PRIMARY KEY);
	INSERT INTO x SELECT generate_series(1, 3);
	CREATE TABLE visits (id serial PRIMARY KEY, at timestamptz NOT NULL);
	INSERT INTO visits (at) SELECT now() FROM generate_series(1, 10);
	SELECT retention.add_policy('visits', 'visits', '1 day', 'at');
	SELECT retention.add_policy('o''clock"; DROP TABLE x; --', 'visits', '1 day', 'at');
	SELECT retention.add_policy('--all', 'visits', '1 day', 'at');
};
$server->safe_psql('market', $ground);

# --- what the help shows
my (undef, $help) = runner(['--help']);
my %options = map { /^\s+(?:-.,\s+)?(--[\w-]+)(=\w+)?/ ? ($1 => $2 ? 1 : 0) : () } lines($help);
my @commands = $help =~ /^  (\w+) {4,}\S/mg;
cmp_ok(scalar(keys %options), '>=', 20, 'the help shows the options that are tried here');
is_deeply([ grep { /^(?:run|preview|status)$/ } @commands ], [ 'run', 'preview', 'status' ], 'and the commands');
@commands = grep { !/^PG/ } @commands;

my @values = ('', ' ', '0', '1', '-1', '+1', '00', '1e3', '0x10', '1.5', '2 ', ' 2', '9223372036854775807', '9223372036854775808', '-9223372036854775809', 'NaN', 'inf', '1 day', '-1 day', '0 s', 'infinity', '1 min; DROP TABLE x', q{'}, q{"}, q{';DROP TABLE x;--}, '$$', '\\', '%s%n', '--', '-', '--help',
	'text', 'json', 'xml', 'auto', 'always', 'AUTO', "a\nb", "\x01", "\xff\xfe", "\xc3\xa9", "\xe2\x80\xae", 'x' x 1000, 'x' x 100_000, '9' x 5000, 'true', 'NULL');
my @policies = ('visits', 'visits', 'visits', 'nothing', q{o'clock"; DROP TABLE x; --}, '--all', '', ' ', '%s%n', "a\nb", "\xff", "\xc3\xa9", 'x' x 100_000, q{'; DROP TABLE x; --}, 'visits visits', '-', '1');
my %of = (
	'--host' => [ '', '/nonexistent', '/' . 'x' x 300, "/tmp/\n", '/a,/b,', ',', q{/'; DROP}, ],
	'--port' => [ '', '0', '-1', '65536', 'x', '5432,5433', '9' x 100, ' ', q{'} ],
	'--username' => [ '', 'nobody', q{a'; DROP TABLE x; --}, "\xff", 'x' x 1000, "a\nb", 'a=b' ],
	'--dbname' => [ '', 'nothing', 'market', q{x'; DROP}, 'dbname', 'dbname=', q{dbname='}, 'dbname=market port=0', 'postgresql://', 'postgresql:///market?nothing=1', 'postgresql:///market?port=x', 'postgresql://%zz', 'postgresql:///%00', '=', 'a=b', 'dbname=market options=-cnothing.at=all', 'dbname=market options=--bad', "market\n", "\xff", 'x' x 100_000,
		'dbname=market client_encoding=LATIN1', 'dbname=market options=-csearch_path=', 'dbname=market options=-cdefault_transaction_read_only=on', 'dbname=market connect_timeout=x' ],);
my @environments = ({}, {}, {}, map { { PGOPTIONS => "-c $_" } } 'standard_conforming_strings=off', 'quote_all_identifiers=on', 'search_path=', 'client_min_messages=debug1', 'DateStyle=German', 'IntervalStyle=iso_8601', 'TimeZone=Asia/Kathmandu', 'default_transaction_read_only=on', 'statement_timeout=1', 'row_security=off', 'bytea_output=escape', 'extra_float_digits=-15',
	'default_transaction_isolation=serializable', 'nothing=1', 'retention.walk=list');
push @environments, { PGCLIENTENCODING => $_ } for 'LATIN1', 'SQL_ASCII', 'nothing', '';
push @environments, { PGPORT => 'x' }, { PGTZ => 'nowhere' }, { PGAPPNAME => 'x' x 10_000 }, { LC_ALL => 'nowhere' }, { PGCONNECT_TIMEOUT => '-5' }, { PGSERVICE => 'nowhere' }, { PGPASSFILE => '/' }, { TERM => '' }, { TERM => 'x' x 5000 }, { COLUMNS => '-1' };

my $state_sql = q{SELECT md5(string_agg(s, '')) FROM (SELECT 'x' || id AS s FROM x UNION ALL SELECT v::text FROM visits v UNION ALL SELECT to_jsonb(p)::text FROM retention.policy p UNION ALL SELECT count(*)::text FROM pg_class ORDER BY 1) AS t};
my $state = $server->safe_psql('market', $state_sql);

# What is wrong with how it ended.
sub problems_of
{
	my ($code, $out, $err, $is_json) = @_;
	my @wrong;
	push @wrong, "it ended with $code" if $code !~ /^[0-4]$/;
	push @wrong, 'it failed without a word' if $code ne '0' && $err eq '';
	push @wrong, "no message of its own: $err" if $code ne '0' && $err !~ /^pg_retention: (?:error|warning|hint)/m;
	push @wrong, "an inner error: $err" if "$err$out" =~ /terminate called|std::|basic_string|what\(\)|CLI::|nlohmann|json\.exception|XX000|assert/i;
	push @wrong, "not told to try --help: $err" if $code eq '2' && $err !~ /Try "pg_retention --help"/;
	push @wrong, "output of a refused call: $out" if $code =~ /^[23]$/ && $out ne '';
	push @wrong, 'a message of ' . length($err) . ' bytes' if length($err) > 250_000;
	if ($is_json && $code =~ /^[01]$/ && $out ne '' && $out !~ /^Usage:|^pg_retention \d|pg_retention runs/)
	{
		push @wrong, "not JSON in UTF-8: $_" for grep { !eval { JSON::PP->new->utf8->decode($_) } } lines($out);
	}
	return @wrong;
}

# One case: arguments and environment from a seed.
sub make_case
{
	my ($seed) = @_;
	throw_dice(unpack 'L', md5("options $seed"));
	my @names = grep { chance(0.7) || !exists $of{$_} } sort keys %options;
	my @arguments = chance(0.95) ? (pick(@commands)) : pick('sweep', '', '-', 'RUN', '--', "\xff");
	my %had;
	for my $name (some(roll(0, 3), grep { !/help|version/ || chance(0.1) } @names))
	{
		my $value = $of{$name} ? pick(@{ $of{$name} }) : pick(@values);
		push @arguments, !$options{$name} ? (chance(0.9) ? $name : "$name=$value") : chance(0.7) ? "$name=$value" : ($name, $value);
		$had{$name} = 1;
	}
	push @arguments, pick(@policies) for 1 .. pick(0, 1, 1, 1, 2);
	# One that may hold no text of the end of a string; the shell would not pass it either.
	push @arguments, '-d', 'market' unless $had{'--dbname'};
	return ([ grep { !/\0/ } @arguments ], pick(@environments));
}

my $first = $ENV{PG_RETENTION_HOSTILE_FIRST} || 1;
my $cases = $ENV{PG_RETENTION_HOSTILE_RUNS} || 300;
my (%codes, %tried, @bad);
for my $seed ($first .. $first + $cases - 1)
{
	my ($arguments, $environment) = make_case($seed);
	$tried{ s/=.*//sr }++ for @$arguments;
	my ($code, $out, $err) = runner([ '-w', @$arguments ], server => $server, env => $environment);
	$codes{$code}++;
	my @wrong = problems_of($code, $out, $err, grep { /json/ } @$arguments);
	push @wrong, 'rows or definitions changed' if $server->safe_psql('market', $state_sql) ne $state;
	push @bad, map { "seed $seed: " . substr("@$arguments", 0, 300) . ' [' . join(' ', %$environment) . ']: ' . substr($_, 0, 400) } @wrong;
}
is_deeply(\@bad, [], "G11 each of $cases hostile calls ends with a documented exit code and a message, and changes nothing") or diag(map {"$_\n"} @bad[ 0 .. ($#bad < 20 ? $#bad : 20) ]);
is_deeply([ grep { !$codes{$_} } 0 .. 3 ], [], 'and every way to end was met') if $cases >= 300;
is_deeply([ grep { !$tried{$_} && !/help|version/ } sort keys %options ], [], 'and every option of the help was tried') if $cases >= 300;
note(join ', ', map {"exit $_: $codes{$_}"} sort keys %codes);

# --- each option alone under each value, where no server need be asked
for my $option (grep { $options{$_} && !$of{$_} && !/format|vacuum|runtime|sleep/ } sort keys %options)
{
	for my $value ('', '0', '-1', '1.5', 'NaN', '9223372036854775808', q{1; DROP TABLE x}, "\xff", '9' x 5000)
	{
		my ($code, $out, $err) = runner([ 'run', 'visits', "$option=$value" ], server => $server);
		is($code, 2, "G11 $option=" . (length $value > 30 ? 'a long number' : Encode::decode('latin1', $value)) . ' is a usage error');
	}
}

# --- databases in which text is no UTF-8
for my $database ('bytes', 'latin')
{
	my $name = "caf\xe9 \xa7";
	local $ENV{PGCLIENTENCODING} = $database eq 'bytes' ? 'SQL_ASCII' : 'LATIN1';
	$server->safe_psql($database, $ground . qq{SELECT retention.add_policy('$name', 'visits', '1 day', 'at'); CREATE TABLE "t\xe9" (at timestamptz); INSERT INTO "t\xe9" VALUES ('2020-01-01'); SELECT retention.add_policy('accents', '"t\xe9"', '1 day', 'at')});
	local $ENV{PGCLIENTENCODING} = undef;
	delete $ENV{PGCLIENTENCODING};
	for my $command ([ 'preview', '-d', $database ], [ 'status', '-d', $database ], [ 'status', '-d', $database, '--log-format=json' ], [ 'preview', '-d', $database, '--log-format=json' ], [ 'run', '--all', '-d', $database, '--log-format=json' ], [ 'run', '--all', '-d', $database, '-j', '2', '--progress' ])
	{
		my ($code, $out, $err) = runner([ '-w', @$command ], server => $server);
		is_deeply([ $code, problems_of($code, $out, $err, grep { /json/ } @$command) ], [0], "G11 \"@$command\" copes with letters that are no UTF-8") or diag($err);
	}
}
$server->stop;
done_testing();

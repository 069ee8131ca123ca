# The command line: help, version, and what is refused before any server is asked.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use Test::More;

my $try = qr/^pg_retention: hint: Try "pg_retention --help" for more information\.\n\z/m;

# --- help and version
for my $arguments (['--help'], ['-?'], [ 'run', '--help' ], [ 'status', '-?' ], [ '--help', '--nonsense' ])
{
	my ($code, $out, $err) = runner($arguments);
	is_deeply([ $code, $err ], [ 0, '' ], "\"@$arguments\" ends with 0 and says nothing on standard error");
	like($out, qr/^Usage:\n  pg_retention run/m, "\"@$arguments\" shows the usage");
}
my (undef, $help) = runner(['--help']);
like($help, qr/^  -\Q$_\E\b/m, "the help shows the option -$_") for qw(a q v V h p U d w W j);
like($help, qr/^  -\?, --help/m, 'the help shows -? for help, because -h is the host');
like($help, qr/--log-format=FORMAT/, 'the help shows the log format');
like($help, qr/^ +(?:-j, )?--$_\b/m, "the help shows the option --$_") for qw(jobs max-rows max-runtime batch-rows max-rows-per-second sleep no-strict single-transaction progress vacuum);
like($help, qr/^  $_  \S/m, "the help documents exit code $_") for 0 .. 5;
like($help, qr/\b$_\b/, "the help names $_") for qw(PGHOST PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE);
is((grep { length > 100 } lines($help)), 0, 'no line of the help is longer than 100 characters');

for my $option ('--version', '-V')
{
	my ($code, $out) = runner([$option]);
	is($code, 0, "$option ends with 0");
	like($out, qr/^pg_retention \d+\.\d+\.\d+\n\z/, "$option prints the name and the version");
}

# --- usage errors: exit code 2, a message that names what is wrong, the pointer to the help, nothing on standard output
my @wrong = (
	[ [], qr/no command given: run, preview, restore or status/ ],
	[ ['restore'], qr/nothing to restore.*RUN_ID/ ],
	(map { [ [ 'restore', '--', $_ ], qr/"\Q$_\E".*RUN_ID.*from 1 to 9223372036854775807/ ] } '0', '-1', 'x', '1 ', '9223372036854775808'),
	[ [ 'restore', '1', '2' ], qr/too many command-line arguments \(first is "2"\)/ ],
	[ [ 'run', 'carts', '--partial' ], qr/--partial.*"restore"/ ],
	[ ['sweep'], qr/unknown command "sweep"/ ],
	[ ['--nonsense'], qr/unrecognized option "--nonsense"/ ],
	[ [ 'run', '-x', 'carts' ], qr/unrecognized option "-x"/ ],
	[ ['run'], qr{POLICY.*-a/--all} ],
	[ [ 'run', '--all', 'carts' ], qr{-a/--all.*POLICY} ],
	[ [ 'run', 'carts', '-w', '-W' ], qr{-w/--no-password and -W/--password} ],
	[ [ 'run', 'carts', '-q', '-v' ], qr{-q/--quiet and -v/--verbose} ],
	[ [ 'preview', '--quiet' ], qr{-q/--quiet.*"run"} ],
	[ [ 'status', '--all' ], qr{-a/--all.*"run"} ],
	[ [ 'preview', '--all' ], qr{-a/--all.*"run"} ],
	[ [ 'status', 'carts' ], qr/too many command-line arguments \(first is "carts"\)/ ],
	[ [ 'run', 'carts', '--log-format', 'xml' ], qr/"xml".*--log-format.*text or json/ ],
	[ [ 'run', 'carts', '-d' ], qr/"--dbname" requires an argument/ ],
	[ [ 'run', 'carts', '--quiet=maybe' ], qr/value that it does not take/ ],
	[ [ 'run', '' ], qr/policy name cannot be empty/ ],
	[ [ 'run', 'carts', '-j' ], qr/"--jobs" requires an argument/ ],
	[ [ 'run', 'carts', '-q', '--progress' ], qr{-q/--quiet and --progress} ],
	[ [ 'run', 'carts', '--vacuum', 'sometimes' ], qr/"sometimes".*--vacuum.*auto, always or never/ ],
	(map { [ [ 'run', 'carts', '-j', $_ ], qr{"\Q$_\E".*-j/--jobs.*from 1 to 64} ] } '0', '-1', '65', 'many', '2.5', '', '1 '),
	(map { my $option = $_; map { [ [ 'run', 'carts', "$option=$_" ], qr/"\Q$_\E".*$option.*from 1 to 9223372036854775807/ ] } '0', '-5', 'x', '9223372036854775808' }
		qw(--max-rows --batch-rows --max-rows-per-second)),);
my @of_run = ([ '-j/--jobs', '-j2' ], [ '--max-rows', '--max-rows=5' ], [ '--max-runtime', '--max-runtime=5' ], [ '--batch-rows', '--batch-rows=5' ],
	[ '--max-rows-per-second', '--max-rows-per-second=5' ], [ '--sleep', '--sleep=5' ], [ '--no-strict', '--no-strict' ], [ '--progress', '--progress' ]);
for my $option (@of_run, [ '--single-transaction', '--single-transaction' ], [ '--vacuum', '--vacuum=never' ])
{
	my ($name, $given) = @$option;
	push @wrong, [ [ $_, $given ], qr/option \Q$name\E can be used only with the command "run"/ ] for 'preview', 'status';
}
push @wrong, [ [ 'run', 'carts', '--single-transaction', $_->[1] ], qr/options --single-transaction and \Q$_->[0]\E cannot be used together/ ] for @of_run;
for my $case (@wrong)
{
	my ($arguments, $message) = @$case;
	my ($code, $out, $err) = runner($arguments);
	is($code, 2, "\"@$arguments\" ends with 2");
	like($err, qr/^pg_retention: error: [^\n]*$message/, "\"@$arguments\" says what is wrong");
	like($err, $try, "\"@$arguments\" points to the help");
	is($out, '', "\"@$arguments\" prints nothing on standard output");
}

# --- no server: exit code 3
my $nowhere = '/nonexistent/pg_retention';
for my $arguments ([ 'run', 'carts' ], [ 'run', '--all' ], ['preview'], ['status'])
{
	my ($code, $out, $err) = runner([ @$arguments, '-h', $nowhere ]);
	is_deeply([ $code, $out ], [ 3, '' ], "\"@$arguments\" without a server ends with 3");
	like($err, qr/^pg_retention: error: .*\Q$nowhere\E/, "\"@$arguments\" without a server says where it looked");
}

# --- connection strings that libpq cannot read
for my $string ('password=s3cret-word host', 'postgresql://u:s3cret-word%zz@h/d', 'postgresql://u:s3cret-word@[::1',
	'postgres://u@h/d?sslpassword=s3cret-word&nonsense=1')
{
	my ($code, $out, $err) = runner([ 'status', '-d', $string ]);
	is($code, 3, 'a connection string that cannot be read ends with 3');
	like($err, qr/^pg_retention: error: invalid connection string: /, 'a connection string that cannot be read is an error');
	unlike($err . $out, qr/s3cret/, 'the error about a connection string does not repeat its password');
}
for my $arguments ([ 'status', 'postgresql://u:s3cret-word@h/d' ], ['postgresql://u:s3cret-word@h/d'], ['--password=s3cret-word'],
	[ 'status', '--sslpassword=s3cret-word' ], [ 'status', 'host=h password = s3cret-word' ])
{
	my ($code, $out, $err) = runner($arguments);
	is($code, 2, 'a password where none belongs is a usage error');
	unlike($err . $out, qr/s3cret/, 'a usage error does not repeat a password');
}

done_testing();

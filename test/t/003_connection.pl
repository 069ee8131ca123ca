# How the runner connects: options, connection strings, environment, files and passwords, as psql does.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $server = new_server('connection');
install_stand_in($server, runner_version());
$server->safe_psql('postgres', q{
	SET password_encryption = 'scram-sha-256';
	CREATE ROLE app LOGIN PASSWORD 'c0rrect-horse';
	CREATE ROLE other LOGIN;
	CREATE DATABASE elsewhere});
install_stand_in($server, runner_version(), 'elsewhere');
$server->safe_psql('elsewhere', q{DELETE FROM stand_in.policies});
unlink($server->data_dir . '/pg_hba.conf');
$server->append_conf('pg_hba.conf', "local all app scram-sha-256\nlocal all all trust\n");
$server->reload;

my ($host, $port) = ($server->host, $server->port);
my $folder = PostgreSQL::Test::Utils::tempdir();
my $nowhere = { PGHOST => '/nonexistent', PGPORT => 1, PGDATABASE => 'nonexistent' };

# Runs "status" against the server and tells the user and the database that the server saw.
sub session_of
{
	my ($arguments, $env) = @_;
	my ($code, $out, $err);
	my $log = server_log_of($server, sub { ($code, $out, $err) = runner([ 'status', @$arguments ], server => $server, env => $env) });
	my ($user, $database, $application) = $log =~ /connection authorized: user=(\S+) database=(\S+) application_name=(\S+)/;
	return "$code: " . join ' ', map { $_ // '-' } $user, $database, $application;
}

# --- where to
my $me = $server->safe_psql('postgres', 'SELECT current_user');
my $uri_host = $host =~ s{/}{%2F}gr;
is(session_of([]), "0: $me postgres pg_retention", 'the environment says where to connect');
is(session_of([ '-h', $host, '-p', $port, '-U', 'other', '-d', 'elsewhere' ], $nowhere), '0: other elsewhere pg_retention', 'the short options say where to connect');
is(session_of([ "--host=$host", "--port=$port", '--username=other', '--dbname=elsewhere' ], $nowhere), '0: other elsewhere pg_retention', 'the long options say where to connect');
is(session_of([ "-h$host", "-p$port", '-Uother', '-delsewhere' ], $nowhere), '0: other elsewhere pg_retention', 'values may be joined to the short options');
is(session_of([ '-d', "host=$host port=$port user=other dbname=elsewhere" ], $nowhere), '0: other elsewhere pg_retention', 'a conninfo string says where to connect');
is(session_of([ '-d', "postgresql://other\@$uri_host:$port/elsewhere" ], $nowhere), '0: other elsewhere pg_retention', 'a URI says where to connect');
is(session_of([ '-d', 'host=/nonexistent port=1 user=nobody dbname=elsewhere', '-h', $host, '-p', $port, '-U', 'other' ]), '0: other elsewhere pg_retention', 'options override what the connection string says');
is(session_of([ '-d', 'postgres', '-d', 'elsewhere' ]), "0: $me elsewhere pg_retention", 'the last of two equal options counts');
is(session_of([], { PGAPPNAME => 'nightly' }), "0: $me postgres nightly", 'PGAPPNAME overrides the name of the application');
append_to_file("$folder/services", "[shop]\nhost=$host\nport=$port\nuser=other\ndbname=elsewhere\n");
is(session_of([], { PGHOST => undef, PGPORT => undef, PGDATABASE => undef, PGSERVICE => 'shop', PGSERVICEFILE => "$folder/services" }), '0: other elsewhere pg_retention', 'a service says where to connect');
{
	my ($code, $out, $err) = runner([ 'status', '-d', 'no_such_database' ], server => $server);
	is_deeply([ $code, $out ], [ 3, '' ], 'a database that does not exist ends with 3');
	like($err, qr/^pg_retention: error: .*database "no_such_database" does not exist/, 'a database that does not exist is named');
}

# --- passwords
my @app = (server => $server, env => { PGUSER => 'app' });
{
	my ($code, $out, $err) = runner([ 'run', 'carts', '-w' ], @app);
	is($code, 3, '-w without a password ends with 3');
	like($err, qr/no password supplied/, '-w without a password says so');
	for my $option ([], ['-W'])
	{
		($code, $out, $err) = runner([ 'run', 'carts', @$option ], @app);
		is($code, 3, "no terminal to ask on ends with 3 (@$option)");
		like($err, qr/^pg_retention: error: cannot ask for a password: there is no terminal\npg_retention: hint: .*PGPASSWORD/, "no terminal to ask on is said, with a hint (@$option)");
	}
	for my $option ([], ['-w'])
	{
		($code, $out, $err) = runner([ 'run', 'carts', @$option ], server => $server, env => { PGUSER => 'app', PGPASSWORD => 'wr0ng-horse' });
		is_deeply([ $code, $out ], [ 3, '' ], "a wrong password ends with 3 (@$option)");
		like($err, qr/password authentication failed for user "app"/, "a wrong password is said to be wrong (@$option)");
		unlike($err, qr/wr0ng/, "a wrong password is not shown (@$option)");
	}
	is(trace($server), '', 'nothing is run without a connection');

	append_to_file("$folder/pgpass", "*:*:*:app:c0rrect-horse\n");
	chmod 0600, "$folder/pgpass";
	for my $way ([ 'PGPASSWORD', [], { PGPASSWORD => 'c0rrect-horse' } ], [ 'the password file', [], { PGPASSFILE => "$folder/pgpass" } ],
		[ 'a conninfo string', [ '-d', "user=app password='c0rrect-horse'" ], {} ], [ 'a URI', [ '-d', "postgresql://app:c0rrect-horse\@$uri_host:$port/postgres" ], {} ])
	{
		my ($name, $arguments, $env) = @$way;
		($code, $out, $err) = runner([ 'run', 'talks', '-v', '-w', @$arguments ], server => $server, env => { PGUSER => 'app', %$env });
		is($code, 0, "$name gives the password");
		unlike($out . $err, qr/c0rrect/, "a password from $name is not in the verbose output");
	}
	my $log = slurp_file($server->logfile);
	my @with = grep { !/CREATE ROLE|password_encryption/ && /c0rrect/ } lines($log);
	is("@with", '', 'no password is in the server\'s log');
}

# --- the prompt, on a terminal of its own
for my $case ([ 'when the server needs a password', [] ], [ 'with -W', ['-W'] ], [ 'once for several connections', [ '-j', 3 ] ],
	[ 'with -W, once for several connections', [ '-W', '-j', 3 ] ])
{
	my ($when, $option) = @$case;
	local %ENV = (%ENV, PGHOST => $host, PGPORT => $port, PGDATABASE => 'postgres', PGUSER => 'app');
	my ($typed, $terminal, $err) = ('', '', '');
	my $run = IPC::Run::start([ runner_program(), 'run', 'carts', @$option ], '<pty<', \$typed, '>pty>', \$terminal, '2>', \$err, IPC::Run::timeout(60));
	$run->pump until $terminal =~ /Password.*: /;
	$typed = "c0rrect-horse\n";
	$run->finish;
	is($? >> 8, 0, "a password typed on the terminal lets the policy run $when");
	unlike($terminal . $err, qr/c0rrect/, "what is typed is not shown $when");
	like($terminal, qr/carts: ok/, "the policy is run after the password was typed $when");
	is(scalar(() = $terminal =~ /Password/g), 1, "the password is asked for $when");
}
{
	local %ENV = (%ENV, PGHOST => $host, PGPORT => $port, PGDATABASE => 'postgres');
	my ($typed, $terminal) = ('', '');
	my $run = IPC::Run::start([ runner_program(), 'run', 'carts' ], '<pty<', \$typed, '>pty>', \$terminal, IPC::Run::timeout(60));
	$run->finish;
	unlike($terminal, qr/Password/, 'no password is asked for where the server needs none');
}

# --- the process list
my $gate = $server->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK TABLE stand_in.gate');
for my $case ([ 'a conninfo string', '-d', "user=app dbname=postgres password=c0rrect-horse" ], [ 'a conninfo string with spaces', '-d', "user=app password = 'c0rrect-horse' dbname=postgres" ],
	[ 'a URI', "--dbname=postgresql://app:c0rrect-horse\@$uri_host:$port/postgres" ], [ 'a URI\'s parameter', '-d', "postgresql://$uri_host:$port/postgres?user=app&password=c0rrect-horse" ])
{
	my ($name, @arguments) = @$case;
	my $run = start_runner([ 'run', 'waits', @arguments ], server => $server);
	ok($server->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event_type = 'Lock')}), "$name with a password connects");
	my $shown = slurp_file("/proc/$run->{pid}/cmdline");
	like($shown, qr/\Qrun\E\0waits\0/, "the process list shows the policy beside $name");
	unlike($shown, qr/c0rrect/, "the process list does not show the password of $name");
	kill 'TERM', $run->{pid};
	$run->{handle}->finish;
}
$gate->quit;

$server->stop;
done_testing();

# The ground the runner's tests stand on: private servers, a stand-in for the engine, and the runner's own output.
#
# The stand-in gives every answer that an engine may give (success, failure, errors, waiting), so that what the
# runner makes of each can be tested alone; the tests with the real extension are in 006_extension.pl.
package RetentionRunner;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use File::Spec;
use File::Temp qw(tempdir);

our @EXPORT = qw(runner_program runner_version new_server install_stand_in runner start_runner code_of timestamp_like
  server_log_of trace calls wait_until_waiting sessions_gone lines objects);

# The runner under test: the one that PG_RETENTION names, else the first on the caller's PATH.
my $program;

# What PostgreSQL::Test needs to find, unless the caller has said it.
BEGIN
{
	$program = $ENV{PG_RETENTION};
	($program) = grep { -x } map { "$_/pg_retention" } File::Spec->path unless $program;
	die "pg_retention is not on the PATH\n" unless $program;
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	chomp(my $pgxs = qx("$pg_config" --pgxs));
	chomp(my $bindir = qx("$pg_config" --bindir));
	$ENV{PG_REGRESS} ||= dirname($pgxs) . '/../test/regress/pg_regress';
	$ENV{PATH} = "$bindir:$ENV{PATH}";
	my $folder = $ENV{TESTDIR} || tempdir('pg_retention_t_XXXXXX', TMPDIR => 1, CLEANUP => 1);
	$ENV{$_} ||= $folder for qw(TESTDIR TESTDATADIR TESTLOGDIR);
}

use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

# The runner's file.
sub runner_program { return $program }

# The version that the runner says it has.
sub runner_version
{
	my ($code, $out) = runner(['--version']);
	return $out =~ /^pg_retention (\S+)\n\z/ ? $1 : die "no version in: $out";
}

# A running server of its own that logs every statement.
sub new_server
{
	my ($name) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);
	$server->init;
	$server->append_conf('postgresql.conf', "log_statement = 'all'\nlog_connections = on\nwal_level = replica\n");
	$server->start;
	return $server;
}

# Makes a database look as if it had the extension in the given version; the answers are in the SQL file.
sub install_stand_in
{
	my ($server, $version, $database) = @_;
	$database //= 'postgres';
	my $script = File::Spec->catfile(dirname(__FILE__), 'stand_in.sql');
	$server->safe_psql($database, "SET stand_in.version = '$version';\n" . slurp_file($script));
	return;
}

# The environment that leads to a server, with changes.
sub _environment
{
	my ($server, $changes) = @_;
	my %environment = %ENV;
	delete $environment{PGAPPNAME};
	if ($server)
	{
		@environment{qw(PGHOST PGPORT PGDATABASE)} = ($server->host, $server->port, 'postgres');
	}
	for my $name (keys %{ $changes // {} })
	{
		if (defined $changes->{$name}) { $environment{$name} = $changes->{$name} }
		else { delete $environment{$name} }
	}
	return \%environment;
}

# Runs the runner to its end without a terminal; gives its exit code, standard output and standard error.
sub runner
{
	my ($arguments, %with) = @_;
	local %ENV = %{ _environment($with{server}, $with{env}) };
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'setsid', '--wait', $program, @$arguments ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	my $code = $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
	return ($code, $out, $err);
}

# Starts the runner and returns at once: a hash with the handle, and its output as it comes.
sub start_runner
{
	my ($arguments, %with) = @_;
	local %ENV = %{ _environment($with{server}, $with{env}) };
	my %run = (out => '', err => '');
	$run{handle} = IPC::Run::start([ $program, @$arguments ],
		'<', \undef, '>', \$run{out}, '2>', \$run{err}, IPC::Run::timeout(60));
	$run{pid} = $run{handle}->{KIDS}[0]{PID};
	return \%run;
}

# Waits for the end of a runner that was started and gives its exit code.
sub code_of
{
	my ($run) = @_;
	$run->{handle}->finish;
	return $? & 127 ? 'signal ' . ($? & 127) : $? >> 8;
}

# What an RFC 3339 time in UTC looks like.
sub timestamp_like
{
	return qr/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/;
}

# What the server logs while the code runs.
sub server_log_of
{
	my ($server, $code) = @_;
	my $before = -s $server->logfile;
	$code->();
	return slurp_file($server->logfile, $before);
}

# The policies whose work the stand-in has committed, in order.
sub trace
{
	my ($server) = @_;
	return $server->safe_psql('postgres',
		q{SELECT coalesce(string_agg(policy, ' ' ORDER BY at), '') FROM stand_in.trace});
}

# What the calls of a policy were given, in the order of their slices.
sub calls
{
	my ($server, $policy) = @_;
	return objects($server->safe_psql('postgres', qq{SELECT to_jsonb(c) FROM stand_in.call AS c WHERE policy = '$policy' ORDER BY slice, at}));
}

# Waits until so many sessions of the runner wait for a lock.
sub wait_until_waiting
{
	my ($server, $sessions) = @_;
	my $count = q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event_type = 'Lock'};
	$server->poll_query_until('postgres', $count, $sessions // 1) or die 'the runner never waited';
	return;
}

# Whether the runner's sessions leave the server.
sub sessions_gone
{
	my ($server) = @_;
	return $server->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention')});
}

# The objects of an output that has one in each line.
sub objects
{
	my ($text) = @_;
	return map { JSON::PP->new->utf8->allow_bignum->decode($_) } lines($text);
}

# The lines of a text.
sub lines
{
	my ($text) = @_;
	return split /\n/, $text;
}

1;

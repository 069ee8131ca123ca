# The samples of README for cron and systemd, read from there: each is well formed, and its command line does the work with the little
# that such a scheduler gives to its jobs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use File::Spec;
use File::Temp qw(tempdir);
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = new_server('schedules');
my $user = getpwuid $<;
$server->safe_psql('postgres', 'CREATE DATABASE shop');
$server->safe_psql('shop', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE visits (id serial PRIMARY KEY, at timestamptz);
	SELECT retention.add_policy('visits', 'visits', '90 days', 'at')});

# Three rows to go and one to stay.
sub fill { return $server->safe_psql('shop', q{TRUNCATE visits; INSERT INTO visits (at) SELECT now() - d * interval '1 day' FROM unnest(ARRAY[100, 200, 300, 1]) AS d}) }
sub left { return $server->safe_psql('shop', 'SELECT count(*) FROM visits') }

# A sample with the runner under test in the place of the installed one.
my $readme = slurp_file("$FindBin::RealBin/../../README.md");
sub sample
{
	my ($text) = @_;
	$text =~ s{/usr/lib/postgresql/\d+/bin/pg_retention\b}{@{[runner_program()]}} or die "no installed program in: $text\n";
	return $text;
}

# Runs a command in an environment that has nothing but this, and where the server is.
sub run_bare
{
	my ($environment, @command) = @_;
	local %ENV = (%$environment, PGHOST => $server->host, PGPORT => $server->port);
	IPC::Run::run(\@command, '<', \undef, '>', \my $out, '2>', \my $err, IPC::Run::timeout(60));
	return ($? >> 8, $out, $err);
}

my ($fails, $works) = ('ALTER TABLE visits RENAME at TO seen', 'ALTER TABLE visits RENAME seen TO at');

# ---- cron

my ($line) = $readme =~ /^cron:\n\n```\n(.*?)\n```/ms or die 'README has no line for cron';
my ($time, $as, $command) = $line =~ /^((?:\S+\s+){5})(\S+)\s+(.+)$/ or die "this is no line of a system crontab: $line";
like($time, qr{^(?:[\d*][\d*,/-]*\s+){5}$}, 'the line of cron has five fields of time');
is($as, 'postgres', 'and the user of the server');
unlike($line, qr/[%\n]/, 'it is one line without a percent sign, which cron takes for the end of the command');
my %cron = (HOME => '/', LOGNAME => $user, SHELL => '/bin/sh', PATH => '/usr/bin:/bin');
fill();
is_deeply([ run_bare(\%cron, '/bin/sh', '-c', sample($command)) ], [ 0, '', '' ], 'in the environment of cron it ends with 0 and says nothing, so that nothing is mailed');
is(left(), 1, 'and has done the work');
$server->safe_psql('shop', $fails);
my ($code, $out, $err) = run_bare(\%cron, '/bin/sh', '-c', sample($command));
is($code, 1, 'where a policy fails it ends with 1');
like($out . $err, qr/visits/, 'and says which, so that it is mailed');
$server->safe_psql('shop', $works);

# ---- systemd

my ($service, $timer) = $readme =~ /^systemd, in .*?```ini\n(.*?)```\n\n```ini\n(.*?)```/ms or die 'README has no units for systemd';
my @words = split ' ', (sample($service) =~ /^ExecStart=(.*)$/m)[0];
my %systemd = (LANG => 'C.UTF-8', PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', INVOCATION_ID => '0' x 32);
fill();
($code, $out, $err) = run_bare(\%systemd, @words);
is("$code $err", '0 ', 'in the environment of systemd the service ends with 0 and without an error');
is_deeply([ map { "$_->{policy} $_->{affected}" } grep { defined $_->{policy} } map { decode_json($_) } lines($out) ], ['visits 3'], 'and logs each policy as an object');
is(left(), 1, 'and has done the work');
$server->safe_psql('shop', $fails);
is((run_bare(\%systemd, @words))[0], 1, 'where a policy fails, so does the service');
$server->safe_psql('shop', $works);

SKIP:
{
	my ($analyze) = grep { -x } map { "$_/systemd-analyze" } File::Spec->path;
	skip 'systemd is not installed', 2 if !$analyze;
	my $folder = tempdir(CLEANUP => 1);
	my $verify = sub {
		my ($name, %content) = @_;
		append_to_file("$folder/$_", $content{$_}) for keys %content;
		IPC::Run::run([ $analyze, 'verify', "$folder/$name" ], '<', \undef, '>&', \my $said);
		return ($? >> 8) . " $said";
	};
	is($verify->('pg_retention.timer', 'pg_retention.timer' => $timer, 'pg_retention.service' => sample($service)), '0 ', 'systemd finds nothing wrong with the units');
	isnt($verify->('wrong.timer', 'wrong.timer' => $timer =~ s/^(OnCalendar)=.*$/$1=sometimes/mr, 'wrong.service' => sample($service)), '0 ', 'but with a time that is none');
}

$server->stop;
done_testing();

# Runs that fill the disk: that of a table, of the temporary files, of the log. The ledger stays true, and when there is room again the
# next run does the rest.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use CrashGround;
use CrashRun;
use ServerSession;
use SmallDisk;
use PostgreSQL::Test::Utils;
use Test::More;

my ($tables, $wal, $temporary) = map { PostgreSQL::Test::Utils::tempdir_short() } 1 .. 3;
my $disk = eval { SmallDisk->new($tables => 32 * 1024, $wal => 96 * 1024, $temporary => 4 * 1024) };
plan skip_all => "a disk that may be filled: $@" if !$disk;

# Starts the server where the disks are, its log and the temporary files of its runs on them.
sub start_there
{
	my ($server) = @_;
	my $data = $server->data_dir;
	if (!-l "$data/pg_wal")
	{
		$disk->run('cp', '-a', "$data/pg_wal", "$wal/log") or die 'cannot copy the log';
		rename "$data/pg_wal", "$data/pg_wal.before" or die $!;
		symlink "$wal/log", "$data/pg_wal" or die $!;
		$disk->run('mkdir', "$temporary/files") or die 'cannot make a folder';
		symlink "$temporary/files", "$data/base/pgsql_tmp" or die $!;
	}
	$disk->run('pg_ctl', '-s', '-w', '-D', $data, '-l', $server->logfile, 'start') or die 'the server does not start';
	$server->_update_pid(1);
	return;
}

my $server = crash_server('crash_disk', "wal_recycle = off\nmin_wal_size = 2MB\nmax_wal_size = 8MB\n", init => ['--wal-segsize=1'], start => \&start_there);
make_grounds($server, qw(crumbs letters));
my %grounds = map { $_->{name} => $_ } grounds();

sub start
{
	my ($policy, $jobs, $settings) = @_;
	return begin_run($server, policy => $policy, by => 'runner', jobs => $jobs, batch_rows => $policy eq 'crumbs' ? 10_000 : 100, arguments => [ '--vacuum', 'never' ], settings => { %{ $grounds{$policy}{settings} }, %{ $settings // {} } });
}

sub is_finished_by_the_next
{
	my ($claim, $policy, $reason) = @_;
	my ($status, $out, $err) = settle(start($policy, 2), '');
	is($status, 0, "G10 $claim: with room again the next run succeeds") or diag($out, $err);
	is(audit($server, $grounds{$policy}, 1, $reason), '', "G3 G4 G10 $claim: then every due row is done, once, and in the ledger");
	return;
}

$disk->run('mkdir', "$tables/space") or die 'cannot make a folder';
ask($server, "CREATE TABLESPACE small LOCATION '$tables/space'");

# ---- the table that grows: the archive

ask($server, 'ALTER TABLE letters_archive SET TABLESPACE small; ALTER TABLE pages_archive SET TABLESPACE small');
for my $jobs (1, 4)
{
	my $claim = "no room for the archive, $jobs jobs";
	fill_ground($server, $grounds{letters});
	$disk->leave($tables, 400);
	my ($status, $out, $err) = settle(start('letters', $jobs), '');
	$disk->free($tables);
	is($status, 1, "$claim: the runner ends with 1");
	like($err, qr/No space left on device/, "$claim: the runner says why") or diag($out);
	is(audit($server, $grounds{letters}, 0, 'error'), '', "G3 G4 G10 $claim: all is true");
	isnt(left_to_do($server, $grounds{letters}), 0, "$claim: something due is left");
	is_finished_by_the_next($claim, 'letters', 'error');
}

# ---- the list of a run, in a temporary file

{
	my $claim = 'no room for the list';
	fill_ground($server, $grounds{crumbs});
	$disk->leave($temporary, 200);
	my ($status, $out, $err) = settle(start('crumbs', 1), '');
	$disk->free($temporary);
	is($status, 1, "$claim: the runner ends with 1");
	like($err, qr/No space left on device/, "$claim: the runner says why") or diag($out);
	is(audit($server, $grounds{crumbs}, 0, 'error'), '', "G3 G4 G10 $claim: all is true");
	is(left_to_do($server, $grounds{crumbs}), 70000, "$claim: nothing is done");
	is_finished_by_the_next($claim, 'crumbs', 'error');
}

# ---- the log: the server cannot go on

for my $jobs (1, 4)
{
	my $claim = "no room for the log, $jobs jobs";
	ask($server, "ALTER TABLE letters_archive SET TABLESPACE pg_default; ALTER TABLE pages_archive SET TABLESPACE pg_default");
	fill_ground($server, $grounds{letters});
	my $log = -s $server->logfile;
	$disk->leave($wal, 1100);
	my $run = start('letters', $jobs);
	my ($status) = end_of($run);
	is($status, 1, "$claim: the runner ends with 1");
	like(slurp_file($server->logfile, $log), qr/PANIC: .*No space left on device/, "$claim: the server panics");
	$disk->free($wal);
	poll('the server, back or gone', sub { defined answer($server, 'SELECT 1') || !-e $server->data_dir . '/postmaster.pid' });
	start_there($server) if !-e $server->data_dir . '/postmaster.pid';
	settle($run, '');
	is(audit($server, $grounds{letters}), '', "G3 G4 G10 $claim: all is true");
	isnt(left_to_do($server, $grounds{letters}), 0, "$claim: something due is left");
	is_finished_by_the_next($claim, 'letters');
}

$server->stop;
$disk->drop;
done_testing();

# Committed runs that wait after their first batch until they are let go on, with no snapshot and no lock: for the archiver's
# queue, which is made up.
package HaltedRun;

use strict;
use warnings;

use BatchedRun;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(halting_server start_halted has_halted let_go);

# A server without autovacuum on which nothing but these runs waits for the archiver.
sub halting_server
{
	my ($name) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);
	$server->init;
	$server->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 0\narchive_mode = on\narchive_command = ''\nautovacuum = off\n");
	$server->start;
	return $server;
}

sub queue
{
	my ($server) = @_;
	return map { $server->data_dir . "/pg_wal/archive_status/0000000100000000000000F$_.ready" } 1 .. 4;
}

# Starts a run of the policy over a list, one row a batch, under these settings.
sub start_halted
{
	my ($server, $policy, @settings) = @_;
	append_to_file($_, '') for queue($server);
	return start_run($server, "'$policy', batch_rows => 1", @settings, 'retention.walk = list', 'retention.max_archive_queue = 1', q{retention.max_lag_wait = '1h'});
}

# Whether the run has come to wait, with so many rows left in the table.
sub has_halted
{
	my ($run, $table, $left) = @_;
	return wait_for_run($run, q{wait_event_type IN ('Extension', 'Timeout')})
		&& $run->{server}->poll_query_until('postgres', "SELECT count(*) = $left FROM $table");
}

# Lets the run go on; gives what it told on standard error by its end.
sub let_go
{
	my ($run) = @_;
	unlink queue($run->{server});
	return end_run($run);
}

1;

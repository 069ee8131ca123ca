# Runs of CALL retention.run in sessions of their own, to be looked at while they are on.
package BatchedRun;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();

our @EXPORT = qw(make_items fill_items start_run end_run wait_for_run pid_of last_run ledger_is_true);

my $runs = 0;

# The ground: a table of items, all of them due, and the policy old_items.
sub make_items
{
	my ($server) = @_;
	$server->safe_psql('postgres', q{
		CREATE EXTENSION pg_retention;
		CREATE TABLE items (id integer PRIMARY KEY, created_at timestamptz NOT NULL);
		SELECT retention.add_policy('old_items', 'items', '90 days', 'created_at')});
	return;
}

# So many items, nothing else.
sub fill_items
{
	my ($server, $count) = @_;
	$server->safe_psql('postgres', "TRUNCATE items; INSERT INTO items SELECT g, now() - interval '100 days' FROM generate_series(1, $count) AS g; ANALYZE items");
	return;
}

# Starts CALL retention.run(ARGUMENTS) under these settings and returns at once.
sub start_run
{
	my ($server, $arguments, @settings) = @_;
	my %run = (server => $server, name => 'run_' . ++$runs, out => '', err => '');
	my @statements = map { ('-c', $_) } map({ "SET $_" } @settings), "CALL retention.run($arguments)";
	my $database = $server->connstr('postgres') . " application_name=$run{name}";
	$run{handle} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=1', '-d', $database, @statements ],
		'<', \undef, '>', \$run{out}, '2>', \$run{err}, IPC::Run::timeout(180));
	return \%run;
}

# Waits for the run's end; gives what it told on standard error.
sub end_run
{
	my ($run) = @_;
	$run->{handle}->finish;
	return $run->{err};
}

# Polls until the run's session (a row of pg_stat_activity) is so.
sub wait_for_run
{
	my ($run, $condition) = @_;
	return $run->{server}->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_activity AS a WHERE application_name = '$run->{name}' AND ($condition))");
}

# The process of the run's session.
sub pid_of
{
	my ($run) = @_;
	return $run->{server}->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = '$run->{name}'");
}

# These columns of the latest run.
sub last_run
{
	my ($server, $columns) = @_;
	return $server->safe_psql('postgres', "SELECT $columns FROM retention.runs ORDER BY id DESC LIMIT 1");
}

# Whether the latest run's row and the sum of its ledger both say how many of the items are gone.
sub ledger_is_true
{
	my ($server, $items) = @_;
	return $server->safe_psql('postgres', qq{
		SELECT r.affected = $items - (SELECT count(*) FROM items)
			AND r.affected = (SELECT COALESCE(sum(affected), 0) FROM retention.ledger WHERE run = r.id)
		FROM retention.runs AS r ORDER BY r.id DESC LIMIT 1}) eq 't';
}

1;

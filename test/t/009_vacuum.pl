# The vacuum after a run: when, which tables, by whose right, and what it gives back to the operating system.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use Test::More;

my $server = new_server('vacuum');
$server->append_conf('postgresql.conf', "autovacuum = off\nautovacuum_vacuum_threshold = 50\nautovacuum_vacuum_scale_factor = 0.2\n");
$server->restart;
install_stand_in($server, runner_version());
my $time = timestamp_like();

# In place of the stand-in's answer, a policy "empties" does what its row in the plan says, in two batches, and enters it in the ledger.
$server->safe_psql('postgres', q{
	CREATE TABLE stand_in.plan (statement text, relation text);
	GRANT ALL ON stand_in.plan TO PUBLIC;
	ALTER FUNCTION stand_in.answer(text, int, int) RENAME TO plain_answer;
	CREATE FUNCTION stand_in.answer(name text, slice int DEFAULT NULL, slices int DEFAULT NULL) RETURNS retention.result LANGUAGE plpgsql AS $$
	DECLARE r retention.result := stand_in.plain_answer(name, slice, slices); p stand_in.plan;
	BEGIN
		FOR p IN SELECT * FROM stand_in.plan LOOP
			IF COALESCE(slice, 1) = 1 THEN EXECUTE p.statement; END IF;
			INSERT INTO stand_in.ledger VALUES (r.run_id, p.relation);
		END LOOP;
		RETURN r;
	END $$});

# Makes a table of so many rows, at work as if just vacuumed and analyzed.
sub new_table
{
	my ($name, $rows, $options) = @_;
	$server->safe_psql('postgres', "DROP TABLE IF EXISTS $name; CREATE TABLE $name (id int, filler text) " . ($options // '') . ";
		INSERT INTO $name SELECT g, repeat('x', 200) FROM generate_series(1, $rows) AS g; CREATE INDEX ON $name (id)");
	$server->safe_psql('postgres', "VACUUM ANALYZE $name");
	return;
}

# From now on a run does these statements; each is entered in the ledger under its relation.
sub will_do
{
	my (%statements) = @_;
	$server->safe_psql('postgres', 'TRUNCATE stand_in.plan, stand_in.ledger, stand_in.trace, stand_in.runs');
	$server->safe_psql('postgres', "INSERT INTO stand_in.plan VALUES (\$q\$$statements{$_}\$q\$, '$_')") for keys %statements;
	return;
}

# Runs a policy in the JSON format; gives the exit code, the lines of vacuums by table, and standard error.
sub vacuums
{
	my ($arguments, %with) = @_;
	my ($code, $out, $err) = runner([ 'run', 'empties', '--log-format=json', @$arguments ], server => $server, %with);
	return ($code, { map { $_->{vacuum} => $_ } grep { exists $_->{vacuum} } objects($out) }, $err);
}

# How often a table was vacuumed by hand.
sub vacuumed { return $server->safe_psql('postgres', "SELECT vacuum_count FROM pg_stat_all_tables WHERE relid = '$_[0]'::regclass") }

# Bytes of a table, what it keeps out of line, and the indexes of both.
sub size_of
{
	my ($name) = @_;
	return $server->safe_psql('postgres', qq{
		WITH tables AS (SELECT unnest(ARRAY[oid, reltoastrelid]) AS oid FROM pg_class WHERE oid = '$name'::regclass)
		SELECT sum(pg_relation_size(oid)) FROM (SELECT oid FROM tables UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)) AS parts});
}

# --- auto: when the dead rows call for it
{
	new_table('items', 10000);
	will_do('public.items' => 'DELETE FROM items WHERE id > 2000');
	my $before = size_of('items');
	my ($code, $vacuums, $err) = vacuums([]);
	is_deeply([ $code, $err ], [ 0, '' ], 'a run that is followed by a vacuum ends with 0');
	is(vacuumed('items'), 2, 'a table whose dead rows call for it is vacuumed, as soon as they are dead');
	my $line = $vacuums->{'public.items'};
	is_deeply([ sort keys %$line ], [ sort qw(time vacuum success message dead_rows size_before size_after bytes_returned duration_ms sqlstate error_detail) ], 'the line of a vacuum has every key');
	my $after = size_of('items');
	ok($after < $before, 'the table and its index have become smaller');
	is_deeply([ @$line{qw(dead_rows size_before size_after bytes_returned)} ], [ 8000, $before, $after, $before - $after ], 'the bytes given back are the size before less the size after');

	new_table('items', 10000);
	my (undef, $out) = runner([ 'run', 'empties' ], server => $server);
	like($out, qr/^$time empties: ok: .*\n$time vacuum of public\.items: ok: \d+ kB given back to the operating system \(8000 dead rows, \d+ kB before, \d+ kB after, [\d.]+ ms\)\n\z/,
		'a vacuum is a line of its own with the bytes given back');
	new_table('items', 10000);
	(undef, $out) = runner([ 'run', 'empties', '-q' ], server => $server);
	is($out, '', 'a quiet run does not show a vacuum that succeeds');
}
# The threshold is 50 + 0.2 * 1000 = 250 dead rows.
for my $case ([ 250, 1, 'at the threshold is not vacuumed' ], [ 251, 2, 'above the threshold is vacuumed' ])
{
	my ($dead, $times, $claim) = @$case;
	new_table('items', 1000);
	will_do('public.items' => "DELETE FROM items WHERE id <= $dead");
	vacuums([]);
	is(vacuumed('items'), $times, "a table with $dead dead rows of 1000, $claim");
}
for my $case ([ 'autovacuum_vacuum_threshold = 400, autovacuum_vacuum_scale_factor = 0', 400, 1 ], [ 'autovacuum_vacuum_threshold = 400, autovacuum_vacuum_scale_factor = 0', 401, 2 ],
	[ 'autovacuum_vacuum_scale_factor = 0.01, autovacuum_enabled = off', 61, 2 ])
{
	my ($options, $dead, $times) = @$case;
	new_table('items', 1000, "WITH ($options)");
	will_do('public.items' => "DELETE FROM items WHERE id <= $dead");
	vacuums([]);
	is(vacuumed('items'), $times, "options of the table go before settings ($options, $dead dead rows)");
}
{
	$server->safe_psql('postgres', 'ALTER SYSTEM SET autovacuum_vacuum_scale_factor = 0; SELECT pg_reload_conf()');
	new_table('items', 1000);
	will_do('public.items' => 'DELETE FROM items WHERE id <= 51');
	vacuums([]);
	is(vacuumed('items'), 2, 'the server\'s settings count');
	$server->safe_psql('postgres', 'ALTER SYSTEM RESET autovacuum_vacuum_scale_factor; SELECT pg_reload_conf()');

	# 60 values of 20 pieces each: few rows of the table, many of what it keeps out of line.
	$server->safe_psql('postgres', q{DROP TABLE IF EXISTS papers; CREATE TABLE papers (id int, body text); ALTER TABLE papers ALTER body SET STORAGE EXTERNAL;
		INSERT INTO papers SELECT g, repeat('x', 40000) FROM generate_series(1, 1000) AS g});
	$server->safe_psql('postgres', 'VACUUM ANALYZE papers');
	will_do('public.papers' => 'DELETE FROM papers WHERE id <= 60');
	vacuums([]);
	is(vacuumed('papers'), 1, 'few dead rows, in the table and out of line, are left to autovacuum');
	$server->safe_psql('postgres', q{ALTER TABLE papers SET (toast.autovacuum_vacuum_scale_factor = 0.01)});
	vacuums([]);
	is(vacuumed('papers'), 2, 'what a table keeps out of line is judged by its own options');
}

# --- which tables
{
	new_table($_, 1000) for 'items', 'prices', 'untouched', '"odd ""name"';
	$server->safe_psql('postgres', 'DELETE FROM untouched');
	will_do('public.items' => 'DELETE FROM items', 'public.prices' => 'DELETE FROM prices', 'public.odd "name' => 'DELETE FROM "odd ""name"', 'public.gone' => 'SELECT');
	my ($code, $vacuums) = vacuums([ '-j', 2 ]);
	is($code, 0, 'several tables are vacuumed');
	is_deeply([ sort keys %$vacuums ], [ 'public."odd ""name"', 'public.items', 'public.prices' ], 'the target and its dependents are vacuumed, and nothing else');
	is(vacuumed('untouched'), 1, 'a table that the run did not change is not vacuumed');

	$server->safe_psql('postgres', q{CREATE TABLE events (id int, at date) PARTITION BY RANGE (at);
		CREATE TABLE events_old PARTITION OF events FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
		CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2040-01-01');
		INSERT INTO events SELECT g, '2010-01-01' FROM generate_series(1, 1000) AS g; INSERT INTO events SELECT g, '2030-01-01' FROM generate_series(1, 1000) AS g});
	$server->safe_psql('postgres', 'VACUUM ANALYZE events');
	will_do('public.events' => q{DELETE FROM events WHERE at < '2020-01-01'});
	(undef, $vacuums) = vacuums([]);
	is_deeply([ keys %$vacuums ], ['public.events_old'], 'of a partitioned table those partitions are vacuumed that lost rows');
	$server->safe_psql('postgres', 'INSERT INTO events SELECT g, \'2010-01-01\' FROM generate_series(1, 10) AS g');
	(undef, $vacuums) = vacuums([ '--vacuum', 'always' ]);
	is_deeply([ keys %$vacuums ], ['public.events_old'], 'always means the partitions that lost rows too');

	new_table('items', 1000);
	will_do('public.items' => 'DELETE FROM items');
	my (undef, $out) = runner([ 'run', 'fails', 'empties', 'unknown', '--log-format=json' ], server => $server);
	is(scalar(grep { exists $_->{vacuum} } objects($out)), 1, 'policies that fail do not keep the tables of others from their vacuum');
}

# --- never, always
{
	new_table('items', 1000);
	will_do('public.items' => 'DELETE FROM items');
	my ($code, $vacuums);
	my $log = server_log_of($server, sub { ($code, $vacuums) = vacuums([ '--vacuum', 'never' ]) });
	is_deeply([ $code, $vacuums ], [ 0, {} ], '--vacuum never vacuums nothing');
	unlike($log, qr/VACUUM|retention\.ledger/, '--vacuum never does not even look');
	new_table('items', 1000);
	will_do('public.items' => 'DELETE FROM items WHERE id = 1');
	($code, $vacuums) = vacuums([ '--vacuum', 'always' ]);
	is_deeply([ $code, $vacuums->{'public.items'}{dead_rows} ], [ 0, 1 ], '--vacuum always does so for one dead row');
	is_deeply([ $vacuums->{'public.items'}{bytes_returned} ], [0], 'a table that keeps its size gives nothing back');
	will_do();
	($code, $vacuums) = vacuums([ '--vacuum', 'always' ]);
	is_deeply([ $code, $vacuums ], [ 0, {} ], 'a run that changed nothing is not followed by a vacuum');
	new_table('items', 1000);
	will_do('public.items' => 'DELETE FROM items');
	($code, $vacuums) = vacuums(['--single-transaction']);
	is_deeply([ $code, keys %$vacuums ], [ 0, 'public.items' ], 'a run in one transaction is followed by its vacuum too');
}

# --- rights
{
	$server->safe_psql('postgres', 'CREATE ROLE worker LOGIN; GRANT CREATE ON SCHEMA public TO worker');
	my @worker = (env => { PGUSER => 'worker' });
	new_table('items', 1000);
	$server->safe_psql('postgres', 'GRANT SELECT, DELETE ON items TO worker');
	will_do('public.items' => 'DELETE FROM items WHERE id <= 500');
	my ($code, $vacuums, $err) = vacuums([], @worker);
	is_deeply([ $code, $vacuums ], [ 0, {} ], 'who may not vacuum a table has run the policy all the same');
	like($err, qr/\Apg_retention: table public\.items is not vacuumed: this needs its owner, the owner of the database, or the right MAINTAIN .*\n\z/, 'who may not vacuum a table is told what it needs');
	will_do('public.items' => 'DELETE FROM items');
	($code, $vacuums, $err) = vacuums([ '--vacuum', 'always' ], @worker);
	is_deeply([ $code, $vacuums->{'public.items'}{success}, $vacuums->{'public.items'}{sqlstate} ], [ 1, JSON::PP::false, '42501' ], '--vacuum always without the right is a failure');
	like($err, qr/^pg_retention: error: vacuum of public\.items: permission denied: this needs its owner/, '--vacuum always without the right is an error that says what it needs');
	is(vacuumed('items'), 1, 'nothing was vacuumed without the right');

	new_table('items', 1000);
	$server->safe_psql('postgres', 'ALTER TABLE items OWNER TO worker');
	($code, $vacuums) = vacuums([], @worker);
	is_deeply([ $code, $vacuums->{'public.items'}{success} ], [ 0, JSON::PP::true ], 'the owner of a table may');

	SKIP:
	{
		skip 'the right MAINTAIN came with PostgreSQL 17', 1 if $server->safe_psql('postgres', 'SHOW server_version_num') < 170000;
		new_table('items', 1000);
		$server->safe_psql('postgres', 'GRANT SELECT, DELETE, MAINTAIN ON items TO worker');
		($code, $vacuums) = vacuums([], @worker);
		is_deeply([ $code, $vacuums->{'public.items'}{success} ], [ 0, JSON::PP::true ], 'who was granted MAINTAIN on a table may');
	}
	$server->safe_psql('postgres', 'REVOKE SELECT ON retention.ledger FROM PUBLIC');
	($code, $vacuums, $err) = vacuums([], @worker);
	is_deeply([ $code, $vacuums, $err ], [ 0, {}, "pg_retention: cannot tell which tables to vacuum: permission denied for view ledger\n" ], 'who may not read the ledger is told so, and the run is a success');
	($code, $vacuums, $err) = vacuums([ '--vacuum', 'always' ], @worker);
	is($code, 1, 'who may not read the ledger cannot have a vacuum always');
	$server->safe_psql('postgres', 'GRANT SELECT ON retention.ledger TO PUBLIC');
}

# --- others at the table, signals
{
	new_table('items', 1000);
	will_do('public.items' => 'DELETE FROM items');
	my $other = $server->background_psql('postgres');
	$other->query_safe('BEGIN; LOCK TABLE items IN SHARE UPDATE EXCLUSIVE MODE');
	my $begun = time;
	my ($code, $vacuums, $err) = vacuums([], env => { PGOPTIONS => '-c lock_timeout=200ms' });
	cmp_ok(time - $begun, '<', 8, 'a shorter lock_timeout of the user counts instead of the ten seconds that a vacuum waits otherwise');
	is_deeply([ $code, $vacuums ], [ 0, {} ], 'a table that somebody else holds is left to autovacuum');
	like($err, qr/\Apg_retention: table public\.items is not vacuumed: somebody else holds it/, 'a table that somebody else holds is said to be left');

	my $run = start_runner([ 'run', 'empties', '--vacuum=always' ], server => $server);
	wait_until_waiting($server);
	kill 'INT', $run->{pid};
	is(code_of($run), 1, 'a signal during a vacuum ends with 1');
	like($run->{out}, qr/^$time empties: ok: .*\n$time vacuum of public\.items: failed: cancelled by SIGINT .*SQLSTATE 57014/, 'a signal cancels the vacuum; the policy stays done');

	$run = start_runner([ 'run', 'empties', '--vacuum=always' ], server => $server);
	wait_until_waiting($server);
	$server->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_retention'});
	is(code_of($run), 1, 'a connection lost during a vacuum ends with 1');
	like($run->{out}, qr/^$time empties: ok: .*\n$time vacuum of public\.items: failed: connection lost: /, 'a connection lost during a vacuum is told');
	$other->quit;
}

$server->stop;
done_testing();

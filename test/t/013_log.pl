# What a run writes into the server log, and that a run that is rolled back leaves nothing else behind.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = new_server('log');
$server->safe_psql('postgres', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id), created_at timestamp);
	CREATE TABLE sessions (id text PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), created_at timestamp);
	CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), sender text, "timestamp" timestamp);
	CREATE TABLE image_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions (id));
	CREATE TABLE video_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions (id));
	CREATE TABLE bookings (id serial PRIMARY KEY, status text, created_at timestamp, updated_at timestamp);
	CREATE FUNCTION refill() RETURNS void LANGUAGE sql AS $$
		TRUNCATE users, carts, cart_items, sessions, messages, image_sent, video_sent, bookings RESTART IDENTITY;
		INSERT INTO users (last_active)
			SELECT now() AT TIME ZONE 'UTC' - CASE WHEN g <= 7 THEN interval '100 days' ELSE interval '1 day' END FROM generate_series(1, 12) AS g;
		INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
		INSERT INTO cart_items (cart_id) SELECT c.id FROM carts AS c, generate_series(1, 3);
		INSERT INTO sessions SELECT 's' || id, id FROM users;
		INSERT INTO messages (user_id, sender, "timestamp") SELECT id, 'user', now() AT TIME ZONE 'UTC' FROM users WHERE id > 5;
		INSERT INTO image_sent (session_id) SELECT id FROM sessions, generate_series(1, 2);
		INSERT INTO video_sent (session_id) SELECT id FROM sessions;
		INSERT INTO bookings (status, created_at) SELECT 'Pending', now() AT TIME ZONE 'UTC' - interval '1 hour' FROM generate_series(1, 4)
	$$;
	SELECT refill()});

# The lines that the extension logs while the statements run.
sub logged
{
	my ($sql) = @_;
	my $log = server_log_of($server, sub { $server->psql('postgres', $sql, stderr => \my $err) });
	return grep { /LOG:  pg_retention: / } lines($log);
}

# The newest row of retention.runs.
sub newest_run
{
	return decode_json($server->safe_psql('postgres', q{
		SELECT to_jsonb(r) || jsonb_build_object('ms', floor(EXTRACT(epoch FROM finished - started) * 1000)::int)
		FROM retention.runs AS r ORDER BY id DESC LIMIT 1}));
}

sub count_of
{
	my ($what) = @_;
	return $server->safe_psql('postgres', "SELECT count(*) FROM $what");
}

# Claims that one line was logged and says what the newest row says.
sub agrees
{
	my ($title, @lines) = @_;
	is(scalar @lines, 1, "$title: one line is logged") or diag(explain(\@lines));
	my $line = $lines[0] // '';
	my $run = newest_run();
	my $skipped = $run->{skipped_locked} + $run->{skipped_blocked} + $run->{skipped_held} + $run->{skipped_returned} + $run->{skipped_failed};
	like($line, qr/ run $run->{id} of policy "\Q$run->{policy}\E" by \Q$run->{run_by}\E: /, "$title: the line names run, policy and caller as the row does");
	like($line, qr/; affected $run->{affected}, subjects $run->{subjects}, dependents \{.*\}, skipped $skipped\b/, "$title: the line has the row's counts");
	my ($dependents) = $line =~ /, dependents (\{.*?\}), skipped/;
	is_deeply(decode_json($dependents // '[]'), $run->{dependents}, "$title: the line has the row's dependents");
	my ($cutoff) = $line =~ /, cutoff (\S+?),/;
	is($server->safe_psql('postgres', sprintf(q{SELECT %s IS NOT DISTINCT FROM %s::timestamptz}, $cutoff ? "'$cutoff'::timestamptz" : 'NULL',
				$run->{cutoff} ? "'$run->{cutoff}'" : 'NULL')), 't', "$title: the line has the row's cutoff");
	like($line, qr/\Q$run->{message}\E/, "$title: the line has the row's message");
	like($line, qr/, $run->{ms} ms, \Q$run->{stop_reason}\E$/, "$title: the line has the row's time and how it ended");
	return ($line, $run);
}

# --- off, and on
is(scalar logged('SELECT cleanup_inactive_carts()'), 0, 'by default a run logs nothing');
is(newest_run()->{affected}, 21, 'the run that logged nothing has removed rows');
is(scalar logged('SELECT cleanup_inactive_carts(-1)'), 0, 'by default a failed run logs no line of ours');
$server->safe_psql('postgres', q{ALTER DATABASE postgres SET retention.log_runs = on; SELECT refill()});
{
	my (undef, $run) = agrees('a run', logged('SELECT cleanup_inactive_carts()'));
	is($run->{affected}, 21, 'a run: the row says what was removed');
	is($run->{statistics}{deleted_items}, 21, 'a run: the row keeps the dictionary');
	is(count_of('cart_items'), 15, 'a run: the rows are gone');
}
{
	my (undef, $run) = agrees('a run with nothing to do', logged('SELECT cleanup_inactive_carts()'));
	is($run->{affected}, 0, 'a run with nothing to do: the row says so');
}
{
	my (undef, $run) = agrees('a run with dependents', logged('SELECT cleanup_inactive_sessions()'));
	is($run->{affected}, 5, 'a run with dependents: the row has the sessions');
	is_deeply([ sort { $a <=> $b } values %{ $run->{dependents} } ], [ 5, 10 ], 'a run with dependents: the row has images and videos');
}
{
	my (undef, $run) = agrees('an expiry', logged('SELECT expire_pending_bookings()'));
	is($run->{affected}, 4, 'an expiry: the row has the bookings');
}
{
	# A row that is locked elsewhere is skipped and counted.
	$server->safe_psql('postgres', 'SELECT refill()');
	my $other = $server->background_psql('postgres');
	$other->query_safe('BEGIN; SELECT FROM users WHERE id = 1 FOR UPDATE');
	my (undef, $run) = agrees('G5 a run that skips', logged('SELECT cleanup_inactive_carts()'));
	is("$run->{affected} $run->{skipped_locked}", '18 3', 'G5 a run that skips: the row counts what went and what was locked');
	$other->query_safe('COMMIT');
	$other->quit;
}

# --- failures
{
	my ($line, $run) = agrees('a refused argument', logged('SELECT cleanup_inactive_carts(-1)'));
	is($run->{success}, JSON::PP::false, 'a refused argument: the row says that the run failed');
	like($line, qr/: failed: .*\(22023\)/, 'a refused argument: the line says so, with the SQLSTATE');
}
{
	$server->safe_psql('postgres', q{
		SELECT refill();
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE EXCEPTION 'this item stays' USING ERRCODE = 'KO001'; END $$;
		CREATE TRIGGER refuse BEFORE DELETE ON cart_items FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION refuse()});
	my ($line, $run) = agrees('an error of the server', logged('SELECT cleanup_inactive_carts()'));
	like($line, qr/: failed: this item stays \(KO001\)/, 'an error of the server: the line has message and SQLSTATE');
	is($run->{affected}, 0, 'an error of the server: nothing is said to be gone');
	is(count_of('cart_items'), 36, 'an error of the server: nothing is gone');
	is(scalar(grep { /policy "inactive_carts"/ } logged('SELECT run_data_retention_cleanup()')), 1, 'the daily job logs a line for the policy that failed');
	$server->safe_psql('postgres', 'DROP TRIGGER refuse ON cart_items');
}
{
	my @lines = logged('SELECT scheduled_cleanup()');
	is(join(' ', map { /of policy "(\w+)"/ ? $1 : () } @lines), 'inactive_sessions pending_bookings', 'a job of two policies logs a line for each');
}

# --- the setting
{
	is(scalar logged('SET retention.log_runs = off; SELECT cleanup_inactive_carts()'), 0, 'a superuser can switch the lines off in a session');
	$server->safe_psql('postgres', q{
		CREATE ROLE teller;
		GRANT EXECUTE ON FUNCTION cleanup_inactive_carts TO teller});
	my ($out, $err);
	$server->psql('postgres', "\\set VERBOSITY verbose\nSELECT retention.library_version(); SET ROLE teller; SET retention.log_runs = off", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  42501: /, 'an ordinary role cannot switch the lines off');
	is(scalar logged('SET SESSION AUTHORIZATION teller; SET retention.log_runs = off; SELECT cleanup_inactive_carts()'), 1,
		'an ordinary role cannot hide its runs by setting before the library is loaded');
}

# --- rolled back from outside
$server->safe_psql('postgres', 'SELECT refill()');
my $runs = count_of('retention.runs');
my $ledger = count_of('retention.ledger');
{
	my $inside = $server->safe_psql('postgres', q{
		BEGIN;
		SELECT cleanup_inactive_carts() ->> 'deleted_items';
		SELECT count(*) FROM cart_items;
		SELECT count(*) FROM retention.runs;
		ROLLBACK});
	is($inside, "21\n15\n" . ($runs + 1), 'inside its transaction the run has removed rows and recorded itself');
	is(count_of('cart_items'), 36, 'G4 a run that is rolled back leaves every row');
	is(count_of('retention.runs'), $runs, 'G4 a run that is rolled back leaves no run');
	is(count_of('retention.ledger'), $ledger, 'G4 a run that is rolled back leaves no ledger');
	$server->psql('postgres', q{SELECT (cleanup_inactive_carts() ->> 'deleted_items')::int / 0});
	$server->psql('postgres', 'BEGIN; SELECT cleanup_inactive_carts(); SELECT 1 / 0; COMMIT');
	is(count_of('cart_items') . ' ' . count_of('retention.runs'), "36 $runs", 'G4 a run in a transaction that fails later leaves neither rows gone nor a run');
	$server->safe_psql('postgres', q{
		BEGIN;
		SAVEPOINT before;
		SELECT cleanup_inactive_carts();
		ROLLBACK TO before;
		COMMIT});
	is(count_of('cart_items') . ' ' . count_of('retention.runs'), "36 $runs", 'G4 a run that is rolled back to a savepoint leaves neither rows gone nor a run');
	$server->safe_psql('postgres', 'BEGIN; SELECT cleanup_inactive_carts(); COMMIT');
	is(count_of('cart_items') . ' ' . count_of('retention.runs'), '15 ' . ($runs + 1), 'G4 the same run, committed, leaves both');
	is($server->safe_psql('postgres', 'SELECT sum(affected) FROM retention.ledger WHERE run = (SELECT max(id) FROM retention.runs)'), 21,
		'G4 its ledger has the rows that are gone');
}

$server->stop;
done_testing();

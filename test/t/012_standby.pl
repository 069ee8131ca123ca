# Looking works on a hot standby and in a read-only transaction, and gives what the primary gives; running does not.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# Two databases: the presets as they are, and the same rows under other names with stored policies.
$primary->safe_psql('postgres', 'CREATE DATABASE adopted');
my $rows = q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id), created_at timestamp);
	CREATE TABLE sessions (id text PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), created_at timestamp);
	CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), sender text, "timestamp" timestamp);
	CREATE TABLE image_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions (id));
	CREATE TABLE video_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions (id));
	CREATE TABLE bookings (booking_id text PRIMARY KEY, status text, total_cost numeric, created_at timestamp, updated_at timestamp);
	INSERT INTO users (last_active)
		SELECT now() AT TIME ZONE 'UTC' - CASE WHEN g <= 10 THEN interval '100 days 12 hours' WHEN g <= 30 THEN interval '80 days 12 hours' END
		FROM generate_series(1, 40) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
	INSERT INTO cart_items (cart_id, created_at)
		SELECT c.id, now() AT TIME ZONE 'UTC' - n * interval '40 days 12 hours' FROM carts AS c, generate_series(1, 3) AS n;
	INSERT INTO sessions SELECT 's' || id, id, last_active FROM users;
	INSERT INTO messages (user_id, sender, "timestamp")
		SELECT id, CASE WHEN id % 2 = 0 THEN 'user' ELSE 'bot' END, now() AT TIME ZONE 'UTC' - id * interval '3 hours' - interval '1 hour' FROM users;
	INSERT INTO image_sent (session_id) SELECT id FROM sessions, generate_series(1, 2);
	INSERT INTO video_sent (session_id) SELECT id FROM sessions;
	INSERT INTO bookings
		SELECT 'b' || g, CASE WHEN g <= 8 THEN 'Pending' ELSE 'Confirmed' END, g * 1.5, now() AT TIME ZONE 'UTC' - interval '2 hours 30 seconds'
		FROM generate_series(1, 12) AS g;
};
$primary->safe_psql('postgres', $rows);
$primary->safe_psql('adopted', "$rows" . q{
	ALTER TABLE cart_items RENAME TO lines;
	SELECT retention.adopt_preset('inactive_carts', target => 'lines', expire_after => '70 days');
	SELECT retention.adopt_preset('old_cart_items', target => 'lines');
	SELECT retention.adopt_preset('inactive_sessions');
	SELECT retention.adopt_preset('pending_bookings')});
# A run that succeeded, and one that failed, for the views to show.
$primary->safe_psql($_, q{
	BEGIN;
	UPDATE bookings SET created_at = NULL WHERE booking_id <> 'b1';
	SELECT expire_pending_bookings();
	UPDATE bookings SET created_at = now() AT TIME ZONE 'UTC' - interval '2 hours 30 seconds';
	COMMIT;
	SELECT cleanup_inactive_carts(-1)}) for qw(postgres adopted);
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');

# What looks, with what goes on with the clock taken out. Each names what it must at least show.
my $as_of = $primary->safe_psql('postgres', 'SELECT now()');
my @looks = (
	map({ [ "retention.preview('$_', as_of)", "SELECT * FROM retention.preview('$_', as_of => '$as_of', sample => 3)", qr/\|target\|[1-9]/ ] }
		qw(inactive_carts old_cart_items inactive_sessions pending_bookings)),
	[ 'retention.preview(\'inactive_sessions\') as it is now', q{SELECT relation, role, expected_rows, blocked, held FROM retention.preview('inactive_sessions')}, qr/\|dependent\|[1-9]/ ],
	map({ [ "$_()", "SELECT regexp_replace(($_() - 'cutoff_time')::text, '\"minutes_old\": \\d+', '', 'g')", qr/: [1-9]/ ] }
		qw(get_inactive_carts_preview get_old_cart_items_preview get_inactive_sessions_preview get_expired_bookings_preview)),
	[ 'get_user_activity()', 'SELECT * FROM get_user_activity()', qr/\|inactive\|.*\|unknown\|/s ],
	[ 'retention.run_list()', 'SELECT * FROM retention.run_list()', qr/inactive_carts/ ],
	[ 'retention.runs', 'SELECT * FROM retention.runs ORDER BY id', qr/^1\|pending_bookings.*22023/s ],
	[ 'retention.ledger', 'SELECT * FROM retention.ledger ORDER BY run, relation', qr/pending_bookings/ ],
	[ 'retention.status', 'SELECT * FROM retention.status', qr/pending_bookings/ ],
	[ 'retention.policies', 'SELECT count(*), string_agg(p::text, \',\' ORDER BY name) FROM retention.policies AS p', qr/^\d+\|/ ],
	[ 'retention.library_version()', 'SELECT retention.library_version()', qr/^\d/ ],
);
for my $database (qw(postgres adopted))
{
	my $with = $database eq 'postgres' ? 'presets' : 'stored policies';
	for my $look (@looks)
	{
		my ($name, $sql, $shows) = @$look;
		my $right = $primary->safe_psql($database, $sql);
		like($right, $shows, "$with: $name has something to show");
		my ($out, $err);
		$primary->psql($database, "BEGIN TRANSACTION READ ONLY; $sql; COMMIT", stdout => \$out, stderr => \$err);
		is("$out$err", $right, "$with: $name gives the same in a READ ONLY transaction");
		$standby->psql($database, $sql, stdout => \$out, stderr => \$err);
		is("$out$err", $right, "$with: $name gives the same on a standby");
		$standby->psql($database, "BEGIN ISOLATION LEVEL REPEATABLE READ; $sql; COMMIT", stdout => \$out, stderr => \$err);
		is("$out$err", $right, "$with: $name gives the same on a standby under REPEATABLE READ");
	}
}
{
	my $sql = q{SELECT string_agg(b ->> 'minutes_old', ' ') FROM jsonb_array_elements(get_expired_bookings_preview() -> 'expired_bookings') AS b};
	like($standby->safe_psql('postgres', $sql), qr/^(12\d ?){7}$/, 'on a standby the age of a booking goes on with the clock');
}

# --- what changes is refused, and nothing of it is done
my $state = q{
	SELECT (SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM sessions AS t), (SELECT count(*) FROM image_sent),
		(SELECT md5(string_agg(t::text, '' ORDER BY booking_id)) FROM bookings AS t), (SELECT count(*) FROM retention.runs),
		(SELECT count(*) FROM retention.ledger), (SELECT count(*) FROM retention.policy_change),
		(SELECT md5(string_agg(p::text, '' ORDER BY name)) FROM retention.policies AS p),
};
my %items = (postgres => 'cart_items', adopted => 'lines');
for my $database (qw(postgres adopted))
{
	my $with = $database eq 'postgres' ? 'presets' : 'stored policies';
	my $all = "$state (SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM $items{$database} AS t)";
	my $before = $primary->safe_psql($database, $all);
	my @changes = (
		map({ "$_()" } qw(cleanup_inactive_carts cleanup_inactive_user_carts cleanup_old_cart_items cleanup_inactive_sessions
			expire_pending_bookings scheduled_cleanup run_data_retention_cleanup run_cleanup_now run_booking_expiration_now)),
		q{cleanup_inactive_sessions_for_user('1')}, 'cleanup_inactive_carts(-1)', 'cleanup_inactive_carts(30)',
		map({ "retention.apply('$_')" } qw(inactive_carts inactive_sessions pending_bookings)),
		q{retention.alter_policy('inactive_carts', expire_after => '60 days')}, q{retention.pause_policy('inactive_sessions')},
		$database eq 'adopted'
		? (q{retention.resume_policy('inactive_carts')}, q{retention.remove_policy('inactive_carts')})
		: q{retention.adopt_preset('inactive_carts')});
	for my $change (@changes)
	{
		my ($out, $err);
		$standby->psql($database, "\\set VERBOSITY verbose\nSELECT $change", stdout => \$out, stderr => \$err);
		like($err, qr/ERROR:  25006: /, "$with: $change on a standby is error 25006");
		is($out, '', "$with: $change on a standby gives no result that could be taken for one");
		$primary->psql($database, "\\set VERBOSITY verbose\nBEGIN TRANSACTION READ ONLY; SELECT $change; COMMIT", stdout => \$out, stderr => \$err);
		like($err, qr/ERROR:  25006: /, "$with: $change in a READ ONLY transaction is error 25006");
	}
	is($primary->safe_psql($database, $all), $before, "$with: after all that was refused the primary is as before");
	$primary->wait_for_catchup($standby);
	is($standby->safe_psql($database, $all), $before, "$with: after all that was refused the standby is as before");

	# What the primary does arrives, and the standby's look is of now.
	$primary->safe_psql($database, 'SELECT cleanup_inactive_carts()');
	$primary->wait_for_catchup($standby);
	is($standby->safe_psql($database, q{SELECT get_inactive_carts_preview() ->> 'deleted_items'}), 0, "$with: after a run on the primary the standby has nothing more to preview");
	is($standby->safe_psql($database, q{SELECT policy, affected FROM retention.runs ORDER BY id DESC LIMIT 1}), $primary->safe_psql($database, q{SELECT policy, affected FROM retention.runs ORDER BY id DESC LIMIT 1}),
		"$with: the standby shows the run of the primary");
}

# --- a standby that takes over
$primary->stop;
$standby->promote;
is($standby->safe_psql('postgres', q{SELECT cleanup_inactive_sessions() ->> 'success'}), 'true', 'a promoted standby runs the presets');
is($standby->safe_psql('adopted', q{SELECT cleanup_inactive_sessions() ->> 'success'}), 'true', 'a promoted standby runs its stored policies: it is no copy but the successor');

$standby->stop;
done_testing();

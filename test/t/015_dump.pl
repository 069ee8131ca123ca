# Policies through pg_dump and restore, through DROP and RENAME of what they name, and through DROP EXTENSION.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = new_server('dump');
my $shop = q{
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id), created_at timestamp);
	CREATE TABLE sessions (id text PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), created_at timestamp);
	CREATE TABLE messages (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id), sender text, "timestamp" timestamp);
	CREATE TABLE image_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions (id));
	CREATE TABLE video_sent (id serial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions (id));
	INSERT INTO users (last_active)
		SELECT now() AT TIME ZONE 'UTC' - CASE WHEN g <= 4 THEN interval '100 days' ELSE interval '80 days' END FROM generate_series(1, 10) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
	INSERT INTO cart_items (cart_id, created_at) SELECT c.id, now() AT TIME ZONE 'UTC' FROM carts AS c, generate_series(1, 3);
	INSERT INTO sessions SELECT 's' || id, id FROM users;
	INSERT INTO messages (user_id, sender, "timestamp") SELECT id, 'user', now() AT TIME ZONE 'UTC' FROM users WHERE id > 3;
	INSERT INTO image_sent (session_id) SELECT id FROM sessions;
};
$server->safe_psql('postgres', q{CREATE ROLE shopkeeper; CREATE DATABASE market; CREATE DATABASE copy});
$server->safe_psql('market', "CREATE EXTENSION pg_retention; CREATE SCHEMA \"the shop\"; SET search_path = \"the shop\", public; $shop" . q{
	ALTER TABLE cart_items OWNER TO shopkeeper;
	GRANT USAGE ON SCHEMA "the shop" TO shopkeeper;
	GRANT SELECT, UPDATE ON users, carts TO shopkeeper;
	SELECT retention.adopt_preset('inactive_carts', expire_after => '85 days', time_zone => 'Asia/Karachi');
	SELECT retention.adopt_preset('old_cart_items');
	SELECT retention.alter_policy('old_cart_items', condition => 'target.cart_id > 2', run_order => 7);
	SELECT retention.pause_policy('old_cart_items');
	SELECT retention.adopt_preset('inactive_sessions');
	SELECT cleanup_inactive_carts(-1)});

my $policies = q{SET search_path = ''; SELECT * FROM retention.policies ORDER BY name};
my $details = q{SELECT * FROM retention.policy_activity; SELECT * FROM retention.policy_dependent ORDER BY position};
my $history = 'SELECT policy, version, change, changed_by, changed_at FROM retention.policy_change ORDER BY id';

sub ask
{
	my ($database, $sql, $on) = @_;
	return ($on // $server)->safe_psql($database, $sql);
}

# What an application function or statement gives, decoded.
sub told
{
	my ($database, $sql, $on) = @_;
	return decode_json(ask($database, "SELECT $sql", $on));
}

# The error of a statement, with its SQLSTATE; empty where it has none.
sub error_of
{
	my ($database, $sql, $on) = @_;
	my ($out, $err);
	($on // $server)->psql($database, "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	return $err;
}

# --- a copy in another database of the cluster, and one in another cluster where the database's OID is the same
my $elsewhere = new_server('elsewhere');
ask('postgres', 'CREATE ROLE shopkeeper', $elsewhere);
my $file = PostgreSQL::Test::Utils::tempdir() . '/market.sql';
command_ok([ 'pg_dump', '-f', $file, $server->connstr('market') ], 'pg_dump takes a database with policies');
my %copies = ('another database' => [ $server, 'copy' ], 'another cluster' => [ $elsewhere, 'postgres' ]);
for my $where (sort keys %copies)
{
	my ($on, $database) = @{ $copies{$where} };
	my $here = sub { return ask($database, $_[0], $on) };
	command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $on->connstr($database), '-f', $file ], "the dump restores into $where");
	is($here->($policies), ask('market', $policies), "in $where the policies are back, names of tables included");
	is($here->($details), ask('market', $details), "in $where the policies' activities and dependents are back");
	is($here->($history), ask('market', $history), "in $where the policies' history is back");
	is($here->('SELECT count(*) FROM retention.runs'), 0, "in $where there are no runs of the original: they happened elsewhere");

	# At rest.
	my $rows = q{SELECT (SELECT count(*) FROM "the shop".cart_items), (SELECT count(*) FROM "the shop".sessions)};
	is($here->($rows), '30|10', "in $where the rows are as they were");
	for my $function (qw(cleanup_inactive_carts cleanup_inactive_sessions))
	{
		my $said = told($database, "$function()", $on);
		is($said->{success}, JSON::PP::false, "in $where $function() does not pass for a success");
		is($said->{sqlstate}, '55000', "in $where $function() has SQLSTATE 55000");
		like($said->{message}, qr/at rest/, "in $where $function() says that the policy is at rest");
		like($said->{hint}, qr/retention\.resume_policy\('\w+'\)/, "in $where $function() has a hint that names resume_policy");
		is($said->{stop_reason}, 'paused', "in $where $function() stopped as a paused policy does");
	}
	is(told($database, 'run_data_retention_cleanup()', $on)->{success}, JSON::PP::false, "in $where the daily job does not pass for a success");
	is($here->(q{SELECT success, sqlstate FROM retention.apply('inactive_carts')}), 'f|55000', "in $where retention.apply is at rest too");
	like(error_of($database, 'SELECT cleanup_inactive_carts()', $on), qr/WARNING: .*at rest/, "in $where a run at rest is a WARNING");
	like($here->(q{SELECT expected_rows FROM retention.preview('inactive_carts') WHERE role = 'target'}), qr/^12$/, "in $where a preview looks all the same");
	is($here->($rows), '30|10', "in $where runs at rest have deleted nothing");
	is($here->('SELECT count(*) FROM retention.ledger'), 0, "in $where the ledger says so");
	$here->(q{SELECT retention.alter_policy('inactive_carts', run_order => 3)});
	is(told($database, 'cleanup_inactive_carts()', $on)->{stop_reason}, 'paused', "in $where a policy stays at rest when it is altered");

	# Re-armed.
	$here->(q{SELECT retention.resume_policy('inactive_carts')});
	is(told($database, 'cleanup_inactive_carts()', $on)->{deleted_items}, 12, "in $where resume_policy re-arms the policy");
	is($here->($rows), '18|10', "in $where the policy that was resumed removes what is due");
	is(told($database, 'cleanup_inactive_sessions()', $on)->{stop_reason}, 'paused', "in $where the policies that were not resumed stay at rest");
	is($here->('SELECT count(DISTINCT id) = count(*) FROM retention.runs'), 't', "in $where new runs get ids of their own");
	is($here->(q{SELECT runs_as FROM retention.runs WHERE affected > 0}), 'shopkeeper', "G8 in $where the policy runs as its owner");
}
is(ask('market', q{SELECT count(*) FROM "the shop".cart_items}), 30, 'runs in a copy leave the original alone');
is(told('market', 'cleanup_inactive_carts()')->{deleted_items}, 12, 'the original is not at rest');

# --- restored without owners, where the owner's role is missing
{
	my $stranger = new_server('stranger');
	my ($out, $err) = ('', '');
	command_ok([ 'pg_dump', '-Fc', '--no-owner', '--no-privileges', '-f', "$file.custom", $server->connstr('market') ], 'pg_dump takes it without owners');
	IPC::Run::run([ 'pg_restore', '--no-owner', '--no-privileges', '-d', $stranger->connstr('postgres'), "$file.custom" ], '>', \$out, '2>', \$err);
	is(ask('postgres', 'SELECT count(*) FROM retention.policies', $stranger), 3, 'policies are restored where their owner\'s role is missing') or diag($err);
	$stranger->stop;
}

# --- RENAME
ask('postgres', 'CREATE DATABASE changing');
ask('changing', "CREATE EXTENSION pg_retention; $shop" . q{
	SELECT retention.adopt_preset('inactive_carts');
	SELECT retention.adopt_preset('inactive_sessions');
	CREATE SCHEMA "New Home";
	ALTER TABLE cart_items RENAME TO "line; DROP TABLE users";
	ALTER TABLE carts RENAME TO baskets;
	ALTER TABLE users RENAME TO people;
	ALTER TABLE "line; DROP TABLE users" SET SCHEMA "New Home"});
is(told('changing', 'get_inactive_carts_preview()')->{deleted_items}, 12, 'a preview follows its tables to other names and another schema');
is(told('changing', 'cleanup_inactive_carts()')->{deleted_items}, 12, 'a run follows its tables to other names and another schema');
is(ask('changing', 'SELECT (SELECT count(*) FROM "New Home"."line; DROP TABLE users"), (SELECT count(*) FROM baskets), (SELECT count(*) FROM people)'), '18|10|10',
	'a run on renamed tables removes what is due and nothing else');
like(ask('changing', 'SELECT target FROM retention.policies WHERE name = \'inactive_carts\''), qr/line; DROP TABLE users/, 'retention.policies shows the new name');

# --- DROP TABLE
is(error_of('changing', 'DROP TABLE image_sent'), '', 'a dependent of a policy can be dropped');
{
	my $said = told('changing', 'cleanup_inactive_sessions()');
	is($said->{success}, JSON::PP::false, 'a run without one of its tables fails');
	is($said->{sqlstate}, '42P01', 'a run without one of its tables has SQLSTATE 42P01');
	like($said->{message}, qr/image_sent/, 'a run without one of its tables says which is gone');
	is(ask('changing', 'SELECT count(*) FROM sessions'), 10, 'G3 a run without one of its tables removes nothing');
}
is(error_of('changing', 'DROP TABLE "New Home"."line; DROP TABLE users"'), '', 'the target of a policy can be dropped');
{
	my $said = told('changing', 'cleanup_inactive_carts()');
	is($said->{success}, JSON::PP::false, 'a run without its target fails');
	is($said->{sqlstate}, '42P01', 'a run without its target has SQLSTATE 42P01');
	like($said->{message}, qr/no longer exists/, 'a run without its target says that it is gone');
	like($said->{message}, qr/cart_items/, 'a run without its target names it as the policy was made');
	like($said->{hint}, qr/retention\.remove_policy/, 'a run without its target has a hint that names remove_policy');
	like(error_of('changing', 'SELECT * FROM retention.preview(\'inactive_carts\')'), qr/ERROR:  42P01: .*no longer exists/, 'a preview without its target says the same');
	is(ask('changing', 'SELECT target FROM retention.status WHERE policy = \'inactive_carts\'') ne '', 1, 'retention.status still shows the policy');
	# A table of the same name is not the table of the policy.
	ask('changing', 'CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES baskets (id)); INSERT INTO cart_items (cart_id) SELECT id FROM baskets');
	is(told('changing', 'cleanup_inactive_carts()')->{sqlstate}, '42P01', 'another table that takes the name is not taken for the target');
	is(ask('changing', 'SELECT count(*) FROM cart_items'), 10, 'another table that takes the name keeps its rows');
}
{
	# A dump with such a policy restores too.
	ask('postgres', 'CREATE DATABASE remains');
	command_ok([ 'pg_dump', '-f', $file, $server->connstr('changing') ], 'pg_dump takes a policy whose table is gone');
	command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $server->connstr('remains'), '-f', $file ], 'such a dump restores');
	like(error_of('remains', q{SELECT retention.resume_policy('inactive_carts')}), qr/ERROR:  42P01: .*no longer exists/, 'a policy whose table is gone cannot be resumed');
}
is(error_of('changing', q{SELECT retention.remove_policy('inactive_carts')}), '', 'a policy whose target is gone can be removed');

# --- a column under another name
ask('changing', 'ALTER TABLE messages RENAME COLUMN "timestamp" TO said_at');
is(told('changing', 'cleanup_inactive_sessions()')->{success}, JSON::PP::false, 'a run whose column is gone fails');
is(ask('changing', 'SELECT count(*) FROM sessions'), 10, 'a run whose column is gone removes nothing');

# --- DROP EXTENSION
is(error_of('changing', 'DROP EXTENSION pg_retention'), '', 'the extension can be dropped');
is(ask('changing', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'retention'}), 0, 'the schema goes with the extension');
is(ask('changing', q{SELECT count(*) FROM pg_proc WHERE proname ~ '^(cleanup_|expire_pending|scheduled_cleanup|run_|get_|start_cleanup|stop_cleanup)' AND pronamespace = 'public'::regnamespace}), 0,
	'the application functions go with the extension');
is(ask('changing', 'SELECT count(*) FROM cart_items'), 10, 'the tables of the application stay');
is(error_of('changing', 'CREATE EXTENSION pg_retention'), '', 'the extension can be created again');
is(ask('changing', 'SELECT (SELECT count(*) FROM retention.policies), (SELECT count(*) FROM retention.runs)'), '0|0', 'created again, it begins with nothing');
{
	# In one session that has the library loaded and its plans cached.
	my $session = $server->background_psql('changing');
	$session->query_safe('ALTER TABLE people RENAME TO users; ALTER TABLE baskets RENAME TO carts');
	$session->query_safe(q{SELECT retention.adopt_preset('inactive_carts'); SELECT cleanup_inactive_carts()});
	$session->query_safe('DROP EXTENSION pg_retention; CREATE EXTENSION pg_retention');
	$session->query_safe('INSERT INTO cart_items (cart_id) SELECT id FROM carts');
	is($session->query_safe(q{SELECT cleanup_inactive_carts() ->> 'deleted_items'}), 4, 'dropped and created within a session, it runs in that session');
	is($session->query_safe('SELECT count(*) FROM retention.runs'), 1, 'dropped and created within a session, it records its runs anew');
	$session->query_safe('BEGIN; DROP EXTENSION pg_retention; ROLLBACK');
	is($session->query_safe(q{SELECT cleanup_inactive_carts() ->> 'success'}), 'true', 'a DROP EXTENSION that is rolled back changes nothing');
	$session->quit;
}

# --- A plain user's dump: who owns the application's tables takes the policies along.
$server->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
$server->safe_psql('postgres', 'CREATE DATABASE plain OWNER plain');
$server->safe_psql('plain', q{
	CREATE EXTENSION pg_retention;
	SET ROLE plain;
	CREATE SCHEMA own CREATE TABLE notes (id int PRIMARY KEY, at timestamptz);
	RESET ROLE;
	SELECT retention.add_policy('notes', 'own.notes', '1 day', 'at')});
my $plain = $server->basedir . '/plain.sql';
command_ok([ 'pg_dump', '-U', 'plain', '-d', $server->connstr('plain'), '-f', $plain ], 'a plain user dumps the database');
like(slurp_file($plain), qr/^COPY retention\.policy .*\n\d+\tnotes\t/m, 'a plain user takes the policies along');

$_->stop for $server, $elsewhere;
done_testing();

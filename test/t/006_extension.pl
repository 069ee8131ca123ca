# The runner with the real extension: the main job on a shop, from preview to status.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use RetentionRunner;
use JSON::PP;
use Test::More;

my $server = new_server('extension');
$server->safe_psql('postgres', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE carts (id serial PRIMARY KEY, user_id integer NOT NULL REFERENCES users (id));
	CREATE TABLE cart_items (id serial PRIMARY KEY, cart_id integer NOT NULL REFERENCES carts (id),
		quantity integer NOT NULL CHECK (quantity > 0), created_at timestamp DEFAULT now());
	INSERT INTO users (last_active)
		SELECT CASE WHEN g <= 10 THEN now() AT TIME ZONE 'UTC' - interval '100 days'
		            WHEN g <= 15 THEN now() AT TIME ZONE 'UTC' - interval '80 days' END
		FROM generate_series(1, 20) AS g;
	INSERT INTO carts (user_id) SELECT id FROM users ORDER BY id;
	INSERT INTO cart_items (cart_id, quantity) SELECT c.id, n FROM carts AS c, generate_series(1, 3) AS n});

# How many items, carts and users there are.
sub counts
{
	return $server->safe_psql('postgres', q{SELECT (SELECT count(*) FROM cart_items), (SELECT count(*) FROM carts), (SELECT count(*) FROM users)});
}

# Runs the runner in the JSON format and gives its exit code and the lines' objects by policy.
sub report_of
{
	my ($arguments, %with) = @_;
	my ($code, $out, $err) = runner([ @$arguments, '--log-format=json' ], server => $server, %with);
	diag($err) if $err;
	return ($code, { map { $_->{policy} => $_ } map { decode_json($_) } lines($out) });
}

my $expected = $server->safe_psql('postgres', q{
	SELECT count(*) FROM cart_items AS i JOIN carts AS c ON c.id = i.cart_id JOIN users AS u ON u.id = c.user_id
	WHERE u.last_active < now() AT TIME ZONE 'UTC' - interval '90 days'});
is($expected, 30, 'the shop has items of inactive users');

{
	my ($code, $report) = report_of([ 'preview', 'inactive_carts' ]);
	is($code, 0, 'the preset is previewed with no configuration');
	my ($target) = grep { $_->{role} eq 'target' } @{ $report->{inactive_carts}{relations} };
	is($target->{expected_rows}, $expected, 'the preview expects the rows that plain SQL counts');
	is(counts(), '60|20|20', 'the preview changes nothing');
}
{
	# A run that is stopped in the middle: the trigger's sleep stands for any long statement.
	$server->safe_psql('postgres', q{
		CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN OLD; END $$;
		CREATE TRIGGER slow BEFORE DELETE ON cart_items FOR EACH ROW WHEN (OLD.id > 10) EXECUTE FUNCTION slow()});
	for my $signal (qw(INT TERM))
	{
		my $run = start_runner([ 'run', 'inactive_carts' ], server => $server);
		ok($server->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention' AND wait_event = 'PgSleep')}), "the run is under way (SIG$signal)");
		kill $signal, $run->{pid};
		$run->{handle}->finish;
		is($? >> 8, 1, "SIG$signal ends the run with 1");
		like($run->{out}, qr/inactive_carts: failed: cancelled by SIG$signal/, "SIG$signal cancels the policy, and it is reported so");
		ok($server->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'pg_retention')}), "SIG$signal leaves no session behind");
		is(counts(), '60|20|20', "SIG$signal leaves nothing half done");
	}
	$server->safe_psql('postgres', 'DROP TRIGGER slow ON cart_items');
}
{
	my ($code, $report) = report_of([ 'run', 'inactive_carts' ]);
	my $line = $report->{inactive_carts};
	is($code, 0, 'the preset runs with no configuration');
	is($line->{affected}, $expected, 'the run removes the rows that plain SQL counted');
	is(counts(), '30|20|20', 'the items of inactive users are gone; carts and users stay');
	is($line->{action}, 'delete', 'the report has the action');
	like($line->{$_}, timestamp_like(), "the report has the time \"$_\"") for qw(cutoff started finished);
	ok($line->{run_id} > 0, 'the report has the run\'s id');

	($code, $report) = report_of([ 'run', 'inactive_carts' ]);
	is($code, 0, 'a run with nothing to do is a success');
	is($report->{inactive_carts}{affected}, 0, 'a run with nothing to do removes nothing');
	ok($report->{inactive_carts}{run_id} > $line->{run_id}, 'each run has an id of its own');
}
{
	my ($code, $out, $err) = runner([ 'run', 'no_such_policy', 'inactive_carts' ], server => $server);
	is($code, 1, 'a policy that does not exist ends with 1');
	like($err, qr/no_such_policy.*SQLSTATE 42704/, 'a policy that does not exist is named, with its SQLSTATE');
	like($out, qr/ inactive_carts: ok: /, 'a policy that does not exist does not stop the others');
}
{
	my ($code, $report) = report_of(['status']);
	is($code, 0, 'status ends with 0');
	my $line = $report->{inactive_carts};
	ok($line, 'status shows the policy that has run');
	is($line->{action}, 'delete', 'status shows the action');
	like($line->{last_success}, timestamp_like(), 'status shows when the policy last succeeded');
	is($line->{paused}, JSON::PP::false, 'status shows that the policy is not paused');
}

# --- other names, adopted, and the run list
$server->safe_psql('postgres', q{
	CREATE DATABASE other;
	CREATE ROLE nobody LOGIN});
$server->safe_psql('other', q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE client (id serial PRIMARY KEY, last_active timestamp);
	CREATE TABLE basket (id serial PRIMARY KEY, client_id integer NOT NULL REFERENCES client (id));
	CREATE TABLE basket_line (id serial PRIMARY KEY, basket_id integer NOT NULL REFERENCES basket (id));
	INSERT INTO client (last_active) VALUES (now() AT TIME ZONE 'UTC' - interval '1 year'), (now() AT TIME ZONE 'UTC');
	INSERT INTO basket (client_id) SELECT id FROM client;
	INSERT INTO basket_line (basket_id) SELECT b.id FROM basket AS b, generate_series(1, 4);
	SELECT retention.adopt_preset('inactive_carts', target => 'basket_line', subject => 'client')});
{
	my ($code, $report) = report_of([ 'run', '--all', '-d', 'other' ]);
	is($code, 0, 'run --all ends with 0');
	is($report->{inactive_carts}{affected}, 4, 'run --all runs the adopted preset');
	is($server->safe_psql('other', 'SELECT count(*) FROM basket_line'), 4, 'run --all removes the rows of the adopted preset only');
	$server->safe_psql('other', q{SELECT retention.pause_policy('inactive_carts')});
	($code, $report) = report_of([ 'run', '--all', '-d', 'other' ]);
	is($code, 0, 'run --all ends with 0 when a policy is paused');
	ok(!exists $report->{inactive_carts}, 'run --all leaves a paused policy out');
}

# --- versions and rights
{
	my ($code, $out, $err) = runner([ 'status', '-d', 'template1' ], server => $server);
	is($code, 4, 'a database without the extension is refused');
	like($err, qr/CREATE EXTENSION pg_retention/, 'a database without the extension gets the statement that mends it');
	$server->safe_psql('other', q{UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'pg_retention'});
	($code, $out, $err) = runner([ 'run', '--all', '-d', 'other' ], server => $server);
	is($code, 4, 'another version of the SQL objects is refused');
	like($err, qr/extension 0\.0\.1/, 'another version of the SQL objects is named');
	($code) = runner([ 'run', 'inactive_carts', '-U', 'nobody' ], server => $server);
	is($code, 4, 'a user without rights is refused');
}

$server->stop;
done_testing();

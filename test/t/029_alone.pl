# G1 where a run was alone: while nobody else writes, CALL retention.run no longer looks at the pages of its subjects. It must notice
# whoever comes then, be it done, under way, or holding a row that it has not changed yet.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use BatchedRun;
use PostgreSQL::Test::Cluster;
use ServerSession ();
use Test::More;

my $server = PostgreSQL::Test::Cluster->new('alone');
$server->init;
$server->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 2");
$server->start;
sub ask { return $server->safe_psql('postgres', $_[0]) }

ask(q{CREATE EXTENSION pg_retention;
	CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
	CREATE TABLE carts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
	CREATE TABLE items (id int PRIMARY KEY, cart_id int NOT NULL REFERENCES carts);
	SELECT retention.add_policy('items', 'items', '90 days', 'last_active', subject => 'users');
	CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
		TRUNCATE users, carts, items;
		INSERT INTO users SELECT g, now() - interval '1 year' FROM generate_series(1, 40) g;
		INSERT INTO carts SELECT id, id FROM users;
		INSERT INTO items SELECT g, 1 + g % 40 FROM generate_series(1, 4000) g $$;
	SELECT fill(); ANALYZE});

my $left = q{SELECT count(*) FROM items JOIN carts ON carts.id = cart_id WHERE user_id = 8};

# Runs five batches with a pause after each; in the second pause, when the run has been alone for a batch, `come` is done, and
# `go` when it has ended.
sub meets
{
	my ($come, $go, $claim) = @_;
	ask('SELECT fill()');
	my $run = start_run($server, q{'items', batch_rows => 100, sleep => '1 s', max_rows => 500}, q{retention.walk = 'blocks'});
	$server->poll_query_until('postgres', q{SELECT affected >= 200 FROM retention.progress}) or die 'the run never came to its second pause';
	$come->();
	my $before = ask($left);
	is(end_run($run), '', "$claim: the run ends well");
	cmp_ok(ask('SELECT affected FROM retention.runs ORDER BY id DESC LIMIT 1'), '==', 500, "$claim: and others' items go");
	is(ask('SELECT walk || hand FROM retention.runs ORDER BY id DESC LIMIT 1'), 'blocksdirect', "$claim: by the way that is meant");
	cmp_ok($before, '>', 0, "$claim: there were items to lose");
	is(ask($left), $before, "G1 $claim: and none of them is gone");
	$go->();
	return;
}

my $nothing = sub { };
my $back = q{UPDATE users SET last_active = now() WHERE id = 8};
meets(sub { ask($back) }, $nothing, 'a user who came back');
meets(sub { ask(q{UPDATE carts SET user_id = 8 WHERE id = 8}) }, $nothing, 'a cart that was written anew');

my $session = ServerSession->new($server);
meets(sub { $session->query('BEGIN'); $session->query($back) }, sub { $session->query('ROLLBACK') }, 'a user who is coming back');
meets(sub { $session->query('BEGIN'); $session->query('SELECT id FROM users WHERE id = 8 FOR UPDATE') }, sub { $session->query('ROLLBACK') }, 'a user who is held');
meets(sub { $session->query('BEGIN'); $session->query($back); $session->query(q{PREPARE TRANSACTION 'back'}) }, sub { ask(q{ROLLBACK PREPARED 'back'}) }, 'a user whose return is prepared');

# The same with one who was there before the run, and changes the user while it is on.
sub early
{
	my ($begin, $claim) = @_;
	$session->query('BEGIN');
	$session->query($begin);
	meets(sub { $session->query($back) }, sub { $session->query('ROLLBACK') }, $claim);
	return;
}
early('CREATE TABLE other ()', 'a transaction that was under way');
early('SAVEPOINT a', 'one that had not written yet');

$session->end;
done_testing();

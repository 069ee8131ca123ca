# G1, G3: a committed run over a list reads beforehand what refers to its rows and what their users have done, and in each batch
# looks only at what has come since, by the visibility map. Here everything that comes between two batches is called visible to
# all again by VACUUM before the next one begins.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HaltedRun;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = halting_server('ahead');

sub ask { return $node->safe_psql('postgres', $_[0]) }

ask(q{
	CREATE EXTENSION pg_retention;
	CREATE TABLE users (id int PRIMARY KEY);
	CREATE TABLE sessions (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
	CREATE TABLE messages (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, at timestamptz, note text);
	CREATE TABLE images (id int PRIMARY KEY, session_id int NOT NULL REFERENCES sessions, note text);
	ALTER TABLE messages ALTER note SET STORAGE PLAIN;
	ALTER TABLE images ALTER note SET STORAGE PLAIN;
	INSERT INTO users VALUES (1), (2), (3);
	SELECT retention.add_policy('sessions', 'sessions', '90 days', subject => 'users', dependents => 'cascade');
	SELECT retention.add_activity('sessions', 'messages', 'at', 'activity.user_id = subject.id');
});

# Sessions 10 and 20 are due, 30 is not; two rows fill a page of images or messages, all of them visible to everybody.
sub fill
{
	ask(q{
		TRUNCATE sessions, images, messages;
		INSERT INTO sessions VALUES (10, 1), (20, 2), (30, 3);
		INSERT INTO messages SELECT n, 1 + n % 2, '2020-01-01', repeat('x', 3000) FROM generate_series(1, 8) AS n;
		INSERT INTO messages VALUES (9, 3, now());
		INSERT INTO images SELECT 100 + n, 10, repeat('x', 3000) FROM generate_series(1, 4) AS n;
		INSERT INTO images SELECT 200 + n, 20, repeat('x', 3000) FROM generate_series(1, 4) AS n;
		INSERT INTO images SELECT 300 + n, 30, repeat('x', 3000) FROM generate_series(1, 3) AS n;
		TRUNCATE retention.run CASCADE;
	});
	return settled();
}

# Vacuums until every page is visible to all.
sub settled
{
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default) {
		ask("VACUUM images");
		ask("VACUUM messages");
		return 1 if ask(q{SELECT bool_and(relpages = relallvisible) FROM pg_class WHERE oid IN ('images'::regclass, 'messages'::regclass)}) eq 't';
	}
	return 0;
}

# What comes between the batches, and the sessions and images that are left.
my @cases = (
	[ 'nothing', '', '30', '301 302 303' ],
	[ 'an image of the next session', q{INSERT INTO images VALUES (205, 20, 'new')}, '30', '301 302 303' ],
	[ 'an image that goes to the next session', 'UPDATE images SET session_id = 20 WHERE id = 303', '30', '301 302' ],
	[ 'an image that goes from the next session', 'UPDATE images SET session_id = 30 WHERE id = 203', '30', '203 301 302 303' ],
	[ 'an image of the next session that is changed', q{UPDATE images SET note = 'changed' WHERE id = 203}, '30', '301 302 303' ],
	[ 'an image of the next session that is gone', 'DELETE FROM images WHERE id = 203', '30', '301 302 303' ],
	[ 'a message of the next user', 'INSERT INTO messages VALUES (10, 2, now())', '20 30', '201 202 203 204 301 302 303' ],
	[ 'a message of the next user made young', 'UPDATE messages SET at = now() WHERE id = 1', '20 30', '201 202 203 204 301 302 303' ],
	[ 'an old message of the next user', q{INSERT INTO messages VALUES (11, 2, '2020-02-02')}, '30', '301 302 303' ],
	[ 'a message that goes to the next user', 'UPDATE messages SET user_id = 2 WHERE id = 9', '20 30', '201 202 203 204 301 302 303' ]);

for my $hand (qw(direct sql)) {
	my $direct = $hand eq 'direct' ? 'on' : 'off';
	for (@cases) {
		my ($what, $change, $sessions, $images) = @$_;
		my $claim = "$what, $hand hand";
		ok(fill(), "$claim: every page is visible to all");
		my $run = start_halted($node, 'sessions', "retention.direct = $direct");
		ok(has_halted($run, 'sessions', 2), "$claim: the run waits after its first batch");
		ask($change) if $change;
		ok(settled(), "$claim: so is every page again, between two batches");
		is(let_go($run), '', "$claim: the run ends by itself");
		is(ask(q{SELECT stop_reason || ' ' || hand || ' ' || walk FROM retention.runs}), "done $hand list", "$claim: it was done so");
		is(ask(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM sessions}), $sessions, "$claim: G1 sessions of silent users go, and no others");
		is(ask(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM images}), $images, "$claim: G3 their images go with them, and no others");
	}
}

$node->stop;
done_testing();

# The ground of the stress test, and what lives on it: tables that policies clean by every rule there is, writers who add,
# come back, take away, refer to what is about to go and move it, and cleaners who run the policies in every way.
package StressGround;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(lay_ground);

# Everything that is older than this is due, everything else is young; nobody writes a time near the policies' cutoff.
my $tables = q{
	CREATE TABLE marks (writer int NOT NULL);
	CREATE TABLE problems (who text NOT NULL, what text NOT NULL);

	-- Items of inactive users go.
	CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz, n int NOT NULL DEFAULT 0) PARTITION BY HASH (id);
	CREATE TABLE users_0 PARTITION OF users FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE users_1 PARTITION OF users FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE TABLE carts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, n int NOT NULL DEFAULT 0);
	CREATE SEQUENCE item_id;
	CREATE TABLE items (id int NOT NULL DEFAULT nextval('item_id'), part int NOT NULL, cart_id int NOT NULL REFERENCES carts, n int NOT NULL DEFAULT 0, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	-- Loose pages: with few rows there are stretches of blocks for four slices.
	CREATE TABLE items_0 PARTITION OF items FOR VALUES IN (0) WITH (fillfactor = 10, vacuum_truncate = off);
	CREATE TABLE items_1 PARTITION OF items FOR VALUES IN (1) WITH (fillfactor = 10, vacuum_truncate = off);
	CREATE TABLE items_2 PARTITION OF items FOR VALUES IN (2) WITH (fillfactor = 50);

	-- Rows that are slow to go make the time between the looks at their subjects longer.
	CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.003); RETURN OLD; END $$;
	CREATE TRIGGER linger BEFORE DELETE ON items_2 FOR EACH ROW WHEN (OLD.id % 5 = 0) EXECUTE FUNCTION linger();

	-- Sessions of people who write no messages go, with their images and videos.
	CREATE TABLE people (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
	CREATE TABLE sessions (id serial PRIMARY KEY, person_id int NOT NULL REFERENCES people, n int NOT NULL DEFAULT 0);
	CREATE TABLE messages (id serial PRIMARY KEY, person_id int NOT NULL REFERENCES people, sender text NOT NULL, at timestamptz NOT NULL);
	CREATE SEQUENCE image_id;
	CREATE TABLE images (id int NOT NULL DEFAULT nextval('image_id'), part int NOT NULL, session_id int NOT NULL REFERENCES sessions, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	CREATE TABLE images_0 PARTITION OF images FOR VALUES IN (0);
	CREATE TABLE images_1 PARTITION OF images FOR VALUES IN (1);
	CREATE TABLE videos (id serial PRIMARY KEY, session_id int NOT NULL REFERENCES sessions);
	CREATE INDEX ON sessions (person_id);
	CREATE INDEX ON messages (person_id, at);
	CREATE INDEX ON images (session_id);

	-- Lines of the log go by their own age; bookings that nobody paid expire.
	CREATE SEQUENCE line_id;
	CREATE TABLE lines (id int NOT NULL DEFAULT nextval('line_id'), part int NOT NULL, at timestamptz, n int NOT NULL DEFAULT 0, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	CREATE TABLE lines_0 PARTITION OF lines FOR VALUES IN (0);
	CREATE TABLE lines_1 PARTITION OF lines FOR VALUES IN (1);
	CREATE TABLE bookings (id serial PRIMARY KEY, status text NOT NULL, at timestamptz NOT NULL, times int NOT NULL DEFAULT 0) WITH (fillfactor = 70);
};

my $rows = q{
	CREATE FUNCTION due() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '2020-01-01' + random() * interval '100 days' $$;
	INSERT INTO users SELECT g, CASE WHEN g % 2 = 0 THEN due() ELSE now() END FROM generate_series(1, 400) AS g;
	INSERT INTO carts SELECT g, 1 + g % 400 FROM generate_series(1, 800) AS g;
	INSERT INTO items (part, cart_id) SELECT CASE g % 100 WHEN 0 THEN 2 ELSE g % 2 END, 1 + g % 800 FROM generate_series(1, 40000) AS g;
	INSERT INTO people SELECT g FROM generate_series(1, 200) AS g;
	INSERT INTO sessions (person_id) SELECT 1 + g % 200 FROM generate_series(1, 2000) AS g;
	INSERT INTO messages (person_id, sender, at) SELECT g, 'user', due() FROM generate_series(1, 200, 3) AS g;
	INSERT INTO messages (person_id, sender, at) SELECT g, 'user', now() FROM generate_series(1, 200, 2) AS g;
	INSERT INTO images (part, session_id) SELECT g % 2, 1 + g % 2000 FROM generate_series(1, 4000) AS g;
	INSERT INTO videos (session_id) SELECT 1 + g % 2000 FROM generate_series(1, 2000) AS g;
	INSERT INTO lines (part, at) SELECT g % 2, CASE WHEN g % 3 = 0 THEN now() ELSE due() END FROM generate_series(1, 6000) AS g;
	INSERT INTO bookings (status, at) SELECT CASE WHEN g % 4 = 0 THEN 'Paid' ELSE 'Pending' END, CASE WHEN g % 3 = 0 THEN now() ELSE due() END FROM generate_series(1, 4000) AS g;
};

my $policies = q{
	SELECT retention.add_policy('items', 'items', '90 days', 'last_active', subject => 'users');
	SELECT retention.add_policy('items_jobs', 'items', '90 days', 'last_active', subject => 'users');
	SELECT retention.add_policy('items_asked', 'items', '90 days', 'last_active', subject => 'users', condition => 'EXISTS (SELECT FROM pg_catalog.pg_database)');
	SELECT retention.add_policy('sessions', 'sessions', '90 days', subject => 'people', dependents => 'cascade');
	SELECT retention.add_activity('sessions', 'messages', 'at', 'activity.person_id = subject.id', $$activity.sender = 'user'$$);
	SELECT retention.add_policy('lines', 'lines', '90 days', 'at');
	SELECT retention.add_policy('lines_asked', 'lines', '90 days', 'at', condition => 'EXISTS (SELECT FROM pg_catalog.pg_database)');
	SELECT retention.add_policy('bookings', 'bookings', '90 days', 'at', action => 'update', set_clause => $$status = 'Expired', times = target.times + 1$$, condition => $$target.status = 'Pending'$$);
};

# One thing that a writer does; the last users and people are the holder's alone. What it hits is found by number, so that it may have gone; every act but the first three can
# fail by the rules of the schema (a parent that has gone) or of the server (a row that has moved).
my $acts = q{
	CREATE FUNCTION any_of(most int) RETURNS int LANGUAGE sql AS $$ SELECT 1 + floor(random() * most)::int $$;
	CREATE FUNCTION any_item() RETURNS int LANGUAGE sql AS $$ SELECT id FROM items WHERE id >= random() * (SELECT last_value FROM item_id) ORDER BY id LIMIT 1 $$;
	CREATE FUNCTION any_session() RETURNS int LANGUAGE sql AS $$ SELECT id FROM sessions WHERE id >= random() * (SELECT last_value FROM sessions_id_seq) ORDER BY id LIMIT 1 $$;
	CREATE FUNCTION any_image() RETURNS int LANGUAGE sql AS $$ SELECT id FROM images WHERE id >= random() * (SELECT last_value FROM image_id) ORDER BY id LIMIT 1 $$;
	CREATE FUNCTION any_line() RETURNS int LANGUAGE sql AS $$ SELECT id FROM lines WHERE id >= random() * (SELECT last_value FROM line_id) ORDER BY id LIMIT 1 $$;
	CREATE FUNCTION any_booking() RETURNS int LANGUAGE sql AS $$ SELECT any_of(last_value::int) FROM bookings_id_seq $$;

	CREATE FUNCTION act(number int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		one int;
	BEGIN
		CASE number
			WHEN 1 THEN UPDATE users SET last_active = now(), n = n + 1 WHERE id = any_of(390);
			WHEN 2 THEN UPDATE users SET last_active = due() WHERE id = any_of(390);
			WHEN 3 THEN UPDATE users SET last_active = NULL WHERE id = any_of(390) AND id % 7 = 0;
			WHEN 4 THEN one := any_of(800); INSERT INTO items (part, cart_id) SELECT any_of(3) - 1, one FROM generate_series(1, any_of(8));
			WHEN 5 THEN one := any_item(); UPDATE items SET part = (part + 1) % 3 WHERE id = one;
			WHEN 6 THEN one := any_item(); UPDATE items SET cart_id = any_of(800) WHERE id = one;
			WHEN 7 THEN one := any_item(); DELETE FROM items WHERE id = one;
			WHEN 8 THEN one := any_of(800); UPDATE carts SET user_id = any_of(390), n = n + 1 WHERE id = one;
			WHEN 9 THEN one := any_of(390); UPDATE users SET n = n + 1 WHERE id = one; UPDATE users SET last_active = now() WHERE id = one;
			WHEN 10 THEN one := any_of(390); PERFORM FROM users WHERE id = one FOR UPDATE;
			WHEN 11 THEN one := any_item(); PERFORM FROM items WHERE id = one FOR SHARE;
			WHEN 12 THEN INSERT INTO messages (person_id, sender, at) VALUES (any_of(190), 'user', now());
			WHEN 13 THEN INSERT INTO messages (person_id, sender, at) VALUES (any_of(190), 'bot', now());
			WHEN 14 THEN one := any_of(200); DELETE FROM messages WHERE person_id = one AND at > now() - interval '1 day';
			WHEN 15 THEN INSERT INTO sessions (person_id) VALUES (any_of(190)) RETURNING id INTO one;
				INSERT INTO images (part, session_id) SELECT g % 2, one FROM generate_series(1, any_of(3)) AS g;
			WHEN 16 THEN one := any_session(); INSERT INTO images (part, session_id) SELECT any_of(2) - 1, one WHERE one IS NOT NULL;
			WHEN 17 THEN one := any_session(); INSERT INTO videos (session_id) SELECT one WHERE one IS NOT NULL;
			WHEN 18 THEN one := any_image(); UPDATE images SET part = 1 - part WHERE id = one;
			WHEN 19 THEN one := any_image(); UPDATE images SET session_id = COALESCE(any_session(), session_id) WHERE id = one;
			WHEN 20 THEN one := any_image(); DELETE FROM images WHERE id = one;
			WHEN 21 THEN one := any_session(); UPDATE sessions SET person_id = any_of(190), n = n + 1 WHERE id = one;
			WHEN 22 THEN INSERT INTO lines (part, at) SELECT any_of(2) - 1, CASE WHEN random() < 0.7 THEN due() ELSE now() END FROM generate_series(1, any_of(8));
			WHEN 23 THEN one := any_line(); UPDATE lines SET at = now() WHERE id = one;
			WHEN 24 THEN one := any_line(); UPDATE lines SET part = 1 - part, at = CASE WHEN random() < 0.5 THEN due() ELSE now() END WHERE id = one;
			WHEN 25 THEN one := any_line(); UPDATE lines SET at = due(), n = n + 1 WHERE id = one;
			WHEN 26 THEN INSERT INTO bookings (status, at) SELECT 'Pending', due() FROM generate_series(1, any_of(8));
			WHEN 27 THEN one := any_booking(); UPDATE bookings SET status = 'Paid' WHERE id = one AND status = 'Pending';
			WHEN 28 THEN one := any_booking(); UPDATE bookings SET status = 'Pending', at = CASE WHEN random() < 0.7 THEN due() ELSE now() END WHERE id = one;
			ELSE one := any_booking(); DELETE FROM bookings WHERE id = one AND status = 'Expired';
		END CASE;
	END $$;
};

my $writers = q{
	-- Transactions of one writer until then: a mark, then one act that cannot fail, or some in subtransactions; one in seven is undone.
	CREATE PROCEDURE write(writer int, seed float8, until timestamptz, INOUT failed int DEFAULT 0, INOUT longest interval DEFAULT '0') LANGUAGE plpgsql AS $$
	DECLARE
		began timestamptz;
	BEGIN
		PERFORM setseed(seed);
		WHILE clock_timestamp() < until LOOP
			INSERT INTO marks VALUES (writer);
			IF random() < 0.3 THEN
				PERFORM act(any_of(3));
			ELSE
				FOR round IN 1 .. any_of(4) LOOP
					began := clock_timestamp();
					BEGIN
						PERFORM act(any_of(29));
					EXCEPTION WHEN foreign_key_violation OR serialization_failure OR deadlock_detected THEN
						failed := failed + 1;
					END;
					longest := GREATEST(longest, clock_timestamp() - began);
				END LOOP;
			END IF;
			PERFORM pg_sleep(random() * 0.01) WHERE random() < 0.3;
			IF random() < 0.15 THEN
				ROLLBACK;
			ELSE
				COMMIT;
			END IF;
		END LOOP;
	END $$;

	-- Transactions that hold what they have changed, or locked, for longer than a run waits; every other one is undone.
	CREATE PROCEDURE hold(writer int, seed float8, until timestamptz, INOUT held int DEFAULT 0) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM setseed(seed);
		WHILE clock_timestamp() < until LOOP
			INSERT INTO marks VALUES (writer);
			UPDATE users SET last_active = CASE WHEN held % 2 = 0 THEN now() ELSE due() END WHERE id > 390;
			PERFORM FROM people WHERE id > 190 FOR UPDATE;
			BEGIN
				PERFORM FROM lines WHERE id % 100 = held % 100 FOR UPDATE SKIP LOCKED;
			EXCEPTION WHEN serialization_failure THEN
				NULL; -- A line went to the other partition meanwhile: this round locks none.
			END;
			UPDATE bookings SET status = 'Paid' WHERE id IN (SELECT id FROM bookings WHERE id % 100 = held % 100 AND status = 'Pending' FOR UPDATE SKIP LOCKED);
			PERFORM pg_sleep(0.1 + random() / 2);
			IF random() < 0.5 THEN
				ROLLBACK;
			ELSE
				COMMIT;
			END IF;
			held := held + 1;
		END LOOP;
	END $$;

	-- Runs of the policies until then, each in a way of its own.
	CREATE PROCEDURE clean(policies text[], seed float8, until timestamptz, INOUT runs int DEFAULT 0) LANGUAGE plpgsql AS $$
	DECLARE
		r retention.result;
		policy text;
	BEGIN
		PERFORM setseed(seed);
		WHILE clock_timestamp() < until LOOP
			policy := policies[any_of(cardinality(policies))];
			PERFORM set_config('retention.walk', (ARRAY['auto', 'blocks', 'list'])[any_of(3)], false);
			PERFORM set_config('retention.direct', (random() < 0.7)::text, false);
			PERFORM set_config('retention.work_mem', (ARRAY['4MB', '64kB'])[any_of(2)], false);
			IF random() < 0.1 THEN
				r := retention.apply(policy);
				COMMIT;
			ELSE
				CALL retention.run(policy, batch_rows => (ARRAY[40, 200, 1000])[any_of(3)], result => r);
			END IF;
			runs := runs + 1;
			-- A table that is written anew is locked for longer than a run waits.
			IF NOT r.success AND r.sqlstate NOT IN ('55P03', '40P01', '40001') THEN
				INSERT INTO problems VALUES ('run ' || r.run_id || ' of ' || policy, concat_ws(' ', r.stop_reason, r.sqlstate, r.message, r.error_detail));
				COMMIT;
			END IF;
		END LOOP;
	END $$;
};

# Makes the tables, fills them and defines the policies.
sub lay_ground
{
	my ($server) = @_;
	$server->safe_psql('postgres', "SELECT setseed(0.5); CREATE EXTENSION pg_retention; $tables $rows $policies $acts $writers; ANALYZE");
	return;
}

1;

-- Unpaid bookings: expire_pending_bookings, its preview, and updated_at in its own kind of time.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema stay
\set begin :test '/begin.psql'
\i :begin
SELECT plan(51);

CREATE TYPE booking_status_enum AS ENUM ('Pending', 'Waiting', 'Confirmed', 'Cancelled', 'Completed', 'Expired');
CREATE TABLE users (user_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), phone_number varchar NOT NULL UNIQUE, created_at timestamp);
CREATE TABLE properties (property_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL);
CREATE TABLE bookings (
    booking_id   text PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (user_id),
    property_id  uuid NOT NULL REFERENCES properties (property_id),
    booking_date timestamp NOT NULL,
    total_cost   numeric(10, 2) NOT NULL,
    status       booking_status_enum DEFAULT 'Pending',
    created_at   timestamp,
    updated_at   timestamp
);
INSERT INTO users (phone_number) VALUES ('1');
INSERT INTO properties (name) VALUES ('house');
CREATE FUNCTION minutes_ago(minutes numeric) RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT timezone('UTC', now()) - minutes * interval '1 minute' $$;
CREATE FUNCTION fill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE bookings;
    INSERT INTO bookings SELECT b.id, user_id, property_id, '2030-01-01', b.cost, b.status::booking_status_enum, b.created, '2020-02-02'
      FROM users, properties, (VALUES
        ('old-1', 100.50, 'Pending', minutes_ago(16)), ('old-2', 0, 'Pending', minutes_ago(5000)),
        ('young', 1, 'Pending', minutes_ago(14)), ('paid', 1, 'Confirmed', minutes_ago(5000)),
        ('waiting', 1, 'Waiting', minutes_ago(5000)), ('done', 1, 'Completed', minutes_ago(5000)),
        ('off', 1, 'Cancelled', minutes_ago(5000)), ('was', 1, 'Expired', minutes_ago(5000)),
        ('none', 1, NULL, minutes_ago(5000)), ('when', 1, 'Pending', NULL), ('soon', 1, 'Pending', minutes_ago(-60))) b (id, cost, status, created);
END $$;
SELECT fill() \gset
CREATE TABLE before AS TABLE bookings;

-- Looking first.
BEGIN READ ONLY;
SELECT get_expired_bookings_preview() AS seen \gset
COMMIT;
SELECT is(:'seen'::jsonb ->> 'count', '2', 'the preview counts the bookings, in a READ ONLY transaction');
SELECT is(:'seen'::jsonb ->> 'message', 'Found 2 expired pending bookings', 'and tells them');
SELECT is((SELECT jsonb_agg(b - '{created_at}'::text[]) FROM jsonb_array_elements(:'seen'::jsonb -> 'expired_bookings') b),
          '[{"booking_id": "old-2", "minutes_old": 5000, "total_cost": 0, "status": "Pending"}, {"booking_id": "old-1", "minutes_old": 16, "total_cost": 100.50, "status": "Pending"}]',
          'the preview lists them, oldest first, with age, cost and status');
SELECT is((:'seen'::jsonb #>> '{expired_bookings,1,created_at}')::timestamptz, (SELECT created_at AT TIME ZONE 'UTC' FROM bookings WHERE booking_id = 'old-1'), 'the time of creation is read as UTC');
SELECT set_eq('TABLE bookings', 'TABLE before', 'and the preview changes nothing');

-- The run.
BEGIN;
SELECT expire_pending_bookings() AS did \gset
SELECT is((:'did'::jsonb ->> 'cutoff_time')::timestamptz, minutes_ago(15) AT TIME ZONE 'UTC', 'the cutoff is 15 minutes before now');
SELECT is((SELECT array_agg(DISTINCT updated_at) FROM bookings WHERE booking_id LIKE 'old%'), ARRAY[timezone('UTC', now())], 'updated_at is now, in naive UTC');
COMMIT;
SELECT is(:'did'::jsonb - '{cutoff_time,expired_booking_ids}'::text[],
          '{"success": true, "message": "Expired 2 pending bookings", "expired_bookings": 2, "truncated": false, "skipped": 0, "stop_reason": "done"}',
          'the dictionary counts the bookings');
SELECT set_eq(format('SELECT jsonb_array_elements_text(%L::jsonb)', :'did'::jsonb -> 'expired_booking_ids'), ARRAY['old-1', 'old-2'], 'and lists their ids');
SELECT is((SELECT array_agg(status::text) FROM bookings WHERE booking_id LIKE 'old%'), '{Expired,Expired}', 'old pending bookings are Expired');
SELECT is((SELECT status::text FROM bookings WHERE booking_id = 'young'), 'Pending', 'a young one stays Pending');
SELECT is((SELECT status::text FROM bookings WHERE booking_id = 'when'), 'Pending', 'one of unknown age stays Pending');
SELECT set_eq($$ SELECT * FROM bookings WHERE booking_id NOT LIKE 'old%' $$, $$ SELECT * FROM before WHERE booking_id NOT LIKE 'old%' $$, 'G1 no other booking is changed in any column');
SELECT set_eq('SELECT booking_id, user_id, property_id, booking_date, total_cost, created_at FROM bookings',
              'SELECT booking_id, user_id, property_id, booking_date, total_cost, created_at FROM before', 'G2 no other column of an expired one is changed');
SELECT is(expire_pending_bookings() - '{cutoff_time}'::text[],
          '{"success": true, "message": "No expired pending bookings found", "expired_bookings": 0, "expired_booking_ids": [], "truncated": false, "skipped": 0, "stop_reason": "done"}',
          'nothing to do says so, with success and zeros');
SELECT is(get_expired_bookings_preview() - '{cutoff_time}'::text[],
          '{"success": true, "message": "Found 0 expired pending bookings", "expired_bookings": [], "count": 0, "truncated": false}', 'and so does the preview');

-- Arguments and the boundary.
SELECT fill() \gset
SELECT is(expire_pending_bookings(1000) ->> 'expired_bookings', '1', 'the argument is a number of minutes');
SELECT is(expire_pending_bookings(older_than_minutes => NULL) ->> 'expired_bookings', '1', 'NULL means the policy''s own 15 minutes');
SELECT fill() \gset
SELECT is(run_booking_expiration_now() ->> 'expired_bookings', '2', 'run_booking_expiration_now does the same by hand');
BEGIN;
SELECT fill() \gset
UPDATE bookings SET created_at = minutes_ago(15) WHERE booking_id = 'old-1';
UPDATE bookings SET created_at = minutes_ago(15) - interval '1 microsecond' WHERE booking_id = 'young';
SELECT expire_pending_bookings() AS did \gset
SELECT is((SELECT status::text FROM bookings WHERE booking_id = 'old-1'), 'Pending', 'G1 exactly 15 minutes is not yet expired');
SELECT is((SELECT status::text FROM bookings WHERE booking_id = 'young'), 'Expired', 'a microsecond more is');
ROLLBACK;

-- Zones. The values are naive UTC, whatever the session's TimeZone.
BEGIN;
SET LOCAL TimeZone = 'Asia/Karachi';
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb ->> 'expired_bookings', '2', 'TimeZone Asia/Karachi changes nothing');
SELECT is((SELECT updated_at FROM bookings WHERE booking_id = 'old-1'), timezone('UTC', now()), 'and updated_at is still UTC');
SELECT is(current_setting('TimeZone'), 'Asia/Karachi', 'and the session''s TimeZone is as it was');
ROLLBACK;
BEGIN;
SET LOCAL TimeZone = 'America/Bogota';
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb ->> 'expired_bookings', '2', 'TimeZone America/Bogota changes nothing');
SELECT is((SELECT updated_at FROM bookings WHERE booking_id = 'old-1'), timezone('UTC', now()), 'and updated_at is still UTC there');
ROLLBACK;
BEGIN;
SET LOCAL retention.naive_time_zone = 'Asia/Karachi';
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb ->> 'expired_bookings', '4', 'with retention.naive_time_zone Asia/Karachi the same values are five hours older');
SELECT is((SELECT updated_at FROM bookings WHERE booking_id = 'old-1'), timezone('Asia/Karachi', now()), 'and updated_at is written in that zone');
ROLLBACK;
BEGIN;
SET LOCAL retention.naive_time_zone = 'America/Bogota';
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb -> 'expired_booking_ids', '["old-2"]', 'with America/Bogota they are five hours younger');
SELECT is((SELECT updated_at FROM bookings WHERE booking_id = 'old-2'), timezone('America/Bogota', now()), 'and updated_at is written in that one');
ROLLBACK;
BEGIN;
SET LOCAL TimeZone = 'America/Bogota';
SELECT retention.adopt_preset('pending_bookings', time_zone => 'Asia/Karachi') \gset
SET LOCAL retention.naive_time_zone = 'America/Bogota';
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is((SELECT array_agg(DISTINCT updated_at) FROM bookings WHERE status = 'Expired' AND updated_at > '2021-01-01'), ARRAY[timezone('Asia/Karachi', now())], 'the zone of a stored policy wins over the setting');
ROLLBACK;

-- Other kinds of columns.
BEGIN;
ALTER TABLE bookings ALTER updated_at TYPE timestamptz;
SELECT fill() \gset
SET LOCAL TimeZone = 'Asia/Karachi';
SELECT expire_pending_bookings() AS did \gset
SELECT is((SELECT updated_at FROM bookings WHERE booking_id = 'old-1'), now(), 'updated_at as timestamptz is the instant itself');
ROLLBACK;
BEGIN;
ALTER TABLE bookings DROP updated_at;
ALTER TABLE before DROP updated_at;
INSERT INTO bookings SELECT 'more', user_id, property_id, booking_date, 1, 'Pending', minutes_ago(20) FROM bookings LIMIT 1;
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb ->> 'message', 'Expired 1 pending booking', 'without updated_at the status alone is set');
ROLLBACK;
BEGIN;
ALTER TABLE bookings ALTER status DROP DEFAULT, ALTER status TYPE text;
SELECT fill() \gset
SELECT is(expire_pending_bookings() ->> 'expired_bookings', '2', 'the status may be text');
ROLLBACK;
BEGIN;
ALTER TABLE bookings ALTER created_at TYPE timestamptz USING timezone('UTC', created_at);
SELECT fill() \gset
UPDATE bookings SET created_at = now() - interval '16 minutes' WHERE booking_id LIKE 'old%';
UPDATE bookings SET created_at = now() - interval '14 minutes' WHERE booking_id NOT LIKE 'old%';
SET LOCAL TimeZone = 'Asia/Karachi';
SELECT is(expire_pending_bookings() ->> 'expired_bookings', '2', 'created_at may be timestamptz');
ROLLBACK;
BEGIN;
ALTER TABLE bookings ADD cents int GENERATED ALWAYS AS (total_cost * 100) STORED, ADD last_status text;
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.last_status := old.status; RETURN new; END $$;
CREATE TRIGGER remember BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION remember();
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT results_eq('SELECT last_status, status::text, cents FROM bookings WHERE booking_id = ''old-1''', $$ VALUES ('Pending', 'Expired', 10050) $$, 'triggers and generated columns see the change');
ROLLBACK;
BEGIN;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.booking_id = 'old-1' THEN RETURN NULL; END IF; RETURN new; END $$;
CREATE TRIGGER keep BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION keep();
SELECT fill() \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb - '{cutoff_time}'::text[],
          '{"success": true, "message": "Expired 1 pending booking; skipped 1 (1 blocked)", "expired_bookings": 1, "expired_booking_ids": ["old-2"], "truncated": false, "skipped": 1, "stop_reason": "done"}',
          'a booking that a trigger keeps is counted and told, the others go on');
ROLLBACK;

-- Partitions by status: an expired booking moves.
CREATE SCHEMA moving;
SET search_path = moving, stay, public;
CREATE TABLE bookings (booking_id bigint, status text NOT NULL, created_at timestamp, updated_at timestamp) PARTITION BY LIST (status);
CREATE TABLE pending PARTITION OF bookings FOR VALUES IN ('Pending');
CREATE TABLE rest PARTITION OF bookings DEFAULT;
INSERT INTO bookings SELECT n, CASE WHEN n % 2 = 0 THEN 'Pending' ELSE 'Confirmed' END, minutes_ago(20) FROM generate_series(1, 10) n;
SELECT expire_pending_bookings() AS did \gset
SELECT is(:'did'::jsonb ->> 'expired_bookings', '5', 'an expired booking moves to the partition of its status');
SELECT is((SELECT count(*) FROM rest WHERE status = 'Expired'), 5::bigint, 'and is found there');
SELECT is((SELECT count(*) FROM rest WHERE status = 'Confirmed'), 5::bigint, 'G1 beside the ones that were there');
SELECT is(:'did'::jsonb -> 'expired_booking_ids', '[]', 'a table without a key lists no ids');
SELECT is(:'did'::jsonb -> 'truncated', 'true', 'and says that the list is not whole');
SET search_path = stay, public;
DROP SCHEMA moving CASCADE;

-- Many.
CREATE FUNCTION fill_many(many int) RETURNS void LANGUAGE sql AS $$
    DELETE FROM bookings;
    INSERT INTO bookings SELECT 'b' || n, user_id, property_id, '2030-01-01', 1, 'Pending', minutes_ago(60)
      FROM users, properties, generate_series(1, many) n $$;
SELECT fill_many(1000) \gset
SELECT expire_pending_bookings() AS did \gset
SELECT is(row(:'did'::jsonb -> 'expired_bookings', jsonb_array_length(:'did'::jsonb -> 'expired_booking_ids'), :'did'::jsonb -> 'truncated')::text, '(1000,1000,false)', 'a thousand ids are listed whole');
SELECT fill_many(2500) \gset
SELECT get_expired_bookings_preview() AS seen \gset
SELECT is(row(:'seen'::jsonb -> 'count', jsonb_array_length(:'seen'::jsonb -> 'expired_bookings'), :'seen'::jsonb -> 'truncated')::text, '(2500,1000,true)', 'the preview counts all, lists a thousand and says so');
SELECT expire_pending_bookings() AS did \gset
SELECT is(row(:'did'::jsonb -> 'expired_bookings', jsonb_array_length(:'did'::jsonb -> 'expired_booking_ids'), :'did'::jsonb -> 'truncated')::text, '(2500,1000,true)', 'of more the first thousand are listed and truncated says so');
SELECT is((SELECT count(DISTINCT id) FROM jsonb_array_elements_text(:'did'::jsonb -> 'expired_booking_ids') id), 1000::bigint, 'each once');
SELECT is((SELECT count(*) FROM bookings WHERE status = 'Expired'), 2500::bigint, 'and all are Expired');

-- Other names.
ALTER TABLE bookings RENAME TO reservations;
ALTER TABLE reservations RENAME status TO state;
SELECT throws_ok($$ SELECT retention.adopt_preset('pending_bookings', target => 'reservations') $$, '42703', NULL, 'adopt_preset asks for the status');
UPDATE reservations SET state = 'Waiting';
SELECT retention.adopt_preset('pending_bookings', target => 'reservations', condition => $$target.state = 'Waiting'$$,
    set_clause => $$state = 'Cancelled', updated_at = NULL$$) \gset
SELECT is(expire_pending_bookings() ->> 'expired_bookings', '2500', 'condition and set_clause are the policy''s own');
SELECT is((SELECT count(*) FROM reservations WHERE state = 'Cancelled' AND updated_at IS NULL), 2500::bigint, 'and do what they say');
SELECT is(expire_pending_bookings() ->> 'message', 'No expired pending bookings found', 'and only once');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA stay CASCADE;
DROP EXTENSION pg_retention;

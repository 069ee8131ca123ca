-- Silent sessions: cleanup_inactive_sessions, for one user, its preview, and what happens to tables that refer to sessions.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema stay
\set begin :test '/begin.psql'
\i :begin
SELECT plan(78);

CREATE TABLE users (
    user_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    phone_number varchar NOT NULL UNIQUE,
    created_at   timestamp
);
CREATE TABLE properties (property_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL);
CREATE TABLE sessions (
    id          varchar(64) PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users (user_id),
    created_at  timestamp,
    property_id uuid REFERENCES properties (property_id)
);
CREATE TABLE messages (
    id          serial PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users (user_id),
    sender      varchar(10),
    content     text,
    "timestamp" timestamp
);
CREATE TABLE "imageSent" (
    id          serial PRIMARY KEY,
    session_id  varchar(64) NOT NULL REFERENCES sessions (id),
    property_id uuid NOT NULL REFERENCES properties (property_id)
);
CREATE TABLE "videoSent" (
    id          serial PRIMARY KEY,
    session_id  varchar(64) NOT NULL REFERENCES sessions (id),
    property_id uuid NOT NULL REFERENCES properties (property_id)
);

CREATE FUNCTION hours_ago(hours numeric) RETURNS timestamp LANGUAGE sql STABLE AS
    $$ SELECT timezone('UTC', now()) - hours * interval '1 hour' $$;
CREATE FUNCTION user_named(who text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT md5(who)::uuid $$;

CREATE FUNCTION fill() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE users, properties, sessions, messages, "imageSent", "videoSent" RESTART IDENTITY CASCADE;
    INSERT INTO users SELECT user_named(who), who, hours_ago(1000)
      FROM unnest('{silent,mute,lively,botted,unknown,faceless,future,mixed}'::text[]) who;
    INSERT INTO properties VALUES (user_named('house'), 'house');
    INSERT INTO sessions SELECT phone_number || n, user_id, hours_ago(500), NULL FROM users, generate_series(1, 2) n;
    INSERT INTO messages (user_id, sender, "timestamp") VALUES
        (user_named('silent'), 'user', hours_ago(30)), (user_named('silent'), 'user', hours_ago(60)),
        (user_named('lively'), 'user', hours_ago(100)), (user_named('lively'), 'user', hours_ago(2)),
        (user_named('botted'), 'bot', hours_ago(1)),
        (user_named('unknown'), 'user', NULL), (user_named('unknown'), 'user', hours_ago(100)),
        (user_named('faceless'), NULL, hours_ago(1)),
        (user_named('future'), 'user', hours_ago(-1)),
        (user_named('mixed'), 'user', hours_ago(40)), (user_named('mixed'), 'bot', hours_ago(1));
    INSERT INTO "imageSent" (session_id, property_id) SELECT id, user_named('house') FROM sessions, generate_series(1, 3) WHERE id LIKE '%1';
    INSERT INTO "videoSent" (session_id, property_id) SELECT id, user_named('house') FROM sessions WHERE id LIKE '%2';
END $$;
SELECT fill() \gset
CREATE VIEW by_hand AS
    SELECT id FROM sessions s WHERE NOT EXISTS (SELECT FROM messages m WHERE m.user_id = s.user_id AND m.sender = 'user'
                                                  AND (m."timestamp" >= hours_ago(24) OR m."timestamp" IS NULL));
CREATE TABLE users_before AS TABLE users;
CREATE TABLE messages_before AS TABLE messages;
SELECT count(*) AS expected FROM by_hand \gset

-- Looking first.
BEGIN READ ONLY;
SELECT get_inactive_sessions_preview() AS seen \gset
COMMIT;
SELECT is(:'seen'::jsonb ->> 'count', :'expected'::text, 'G9 the preview counts what plain SQL counts, in a READ ONLY transaction');
SELECT is((SELECT count(*) FROM sessions), 16::bigint, 'and changes nothing');
SELECT set_eq($$ SELECT id FROM by_hand $$, format('SELECT jsonb_array_elements(%L::jsonb) ->> ''id''', :'seen'::jsonb -> 'inactive_sessions'), 'G9 the preview lists the sessions');
SELECT ok(:'seen'::jsonb #> '{inactive_sessions,0}' ?& '{id,user_id,created_at,last_message_time}', 'each with user, creation and last message');
SELECT is((SELECT (s ->> 'last_message_time')::timestamptz FROM jsonb_array_elements(:'seen'::jsonb -> 'inactive_sessions') s WHERE s ->> 'id' = 'silent1'),
          (SELECT max("timestamp") AT TIME ZONE 'UTC' FROM messages WHERE user_id = user_named('silent')), 'the last message time is the newest user message, read as UTC');
SELECT is((SELECT (s ->> 'created_at')::timestamptz FROM jsonb_array_elements(:'seen'::jsonb -> 'inactive_sessions') s WHERE s ->> 'id' = 'silent1'),
          (SELECT created_at AT TIME ZONE 'UTC' FROM sessions WHERE id = 'silent1'), 'the time of creation is read as UTC');
SELECT is((SELECT s ->> 'last_message_time' FROM jsonb_array_elements(:'seen'::jsonb -> 'inactive_sessions') s WHERE s ->> 'id' = 'botted1'), NULL, 'messages of the bot are no last message');
SELECT is((SELECT s ->> 'user_id' FROM jsonb_array_elements(:'seen'::jsonb -> 'inactive_sessions') s WHERE s ->> 'id' = 'mute1'), user_named('mute')::text, 'the user of a session is listed');

-- The run.
BEGIN;
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is((:'did'::jsonb ->> 'cutoff_time')::timestamptz, hours_ago(24) AT TIME ZONE 'UTC', 'the cutoff is 24 hours before now');
COMMIT;
SELECT is(:'did'::jsonb - '{cutoff_time}'::text[],
          '{"success": true, "message": "Deleted 10 inactive sessions", "deleted_sessions": 10, "deleted_image_records": 15, "deleted_video_records": 5, "skipped": 0, "stop_reason": "done"}',
          'the dictionary counts sessions, images and videos');
SELECT is((:'did'::jsonb ->> 'deleted_sessions')::bigint, :expected::bigint, 'an independent count equals deleted_sessions');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'silent%'), 0::bigint, 'a session whose user wrote nothing for 24 hours goes');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'mute%'), 0::bigint, 'no message at all is inactive');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'botted%'), 0::bigint, 'messages of the bot prove nothing');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'mixed%'), 0::bigint, 'a young message of the bot does not help an old one of the user');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'faceless%'), 0::bigint, 'a message of an unknown sender proves nothing');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'lively%'), 2::bigint, 'G1 sessions of a user who wrote stay, all of them');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'unknown%'), 2::bigint, 'G1 a user message of unknown time keeps the sessions');
SELECT is((SELECT count(*) FROM sessions WHERE id LIKE 'future%'), 2::bigint, 'a message of the future keeps the sessions');
SELECT set_eq('SELECT DISTINCT session_id FROM "imageSent"', ARRAY['lively1', 'unknown1', 'future1']::varchar[], 'G3 image rows go with their session, no others');
SELECT set_eq('SELECT DISTINCT session_id FROM "videoSent"', ARRAY['lively2', 'unknown2', 'future2']::varchar[], 'G3 video rows go with their session, no others');
SELECT set_eq('TABLE users', 'TABLE users_before', 'G2 users stay');
SELECT set_eq('TABLE messages', 'TABLE messages_before', 'G2 messages stay');
SELECT is((SELECT count(*) FROM properties), 1::bigint, 'G2 properties stay');
SELECT is(cleanup_inactive_sessions() - '{cutoff_time}'::text[],
          '{"success": true, "message": "No inactive sessions found", "deleted_sessions": 0, "deleted_image_records": 0, "deleted_video_records": 0, "skipped": 0, "stop_reason": "done"}',
          'nothing to do says so, with success and zeros');
SELECT is(get_inactive_sessions_preview() - '{cutoff_time}'::text[],
          '{"success": true, "message": "Found 0 inactive sessions", "inactive_sessions": [], "count": 0, "truncated": false}', 'and so does the preview');

-- Arguments and the boundary.
SELECT fill() \gset
SELECT is(cleanup_inactive_sessions(50) ->> 'deleted_sessions', '6', 'the argument is a number of hours');
SELECT is(cleanup_inactive_sessions(NULL) ->> 'deleted_sessions', '4', 'NULL means the policy''s own 24 hours');
SELECT fill() \gset
SELECT is(run_cleanup_now() - '{cutoff_time}'::text[], '{"success": true, "message": "Deleted 10 inactive sessions", "deleted_sessions": 10, "deleted_image_records": 15, "deleted_video_records": 5, "skipped": 0, "stop_reason": "done"}', 'run_cleanup_now does the same by hand');
BEGIN;
SELECT fill() \gset
DELETE FROM messages;
INSERT INTO messages (user_id, sender, "timestamp") VALUES (user_named('silent'), 'user', hours_ago(24)), (user_named('lively'), 'user', hours_ago(24) - interval '1 microsecond');
SELECT cleanup_inactive_sessions() AS did \gset
SELECT set_eq('SELECT id FROM sessions', ARRAY['silent1', 'silent2']::varchar[], 'G1 a message exactly at the cutoff keeps the session, a microsecond older does not');
ROLLBACK;

-- The session's TimeZone means nothing for naive times.
BEGIN;
SELECT fill() \gset
SET LOCAL TimeZone = 'Asia/Karachi';
SELECT is(cleanup_inactive_sessions() ->> 'deleted_sessions', '10', 'naive UTC is read as UTC under TimeZone Asia/Karachi');
ROLLBACK;
BEGIN;
SELECT fill() \gset
SET LOCAL TimeZone = 'America/Bogota';
SELECT is(cleanup_inactive_sessions() ->> 'deleted_sessions', '10', 'and under America/Bogota');
ROLLBACK;
-- 'silent' wrote 30 hours ago by UTC clocks: 35 hours ago if those clocks stood in Karachi, 25 in Bogota.
BEGIN;
SELECT fill() \gset
SET LOCAL retention.naive_time_zone = 'America/Bogota';
SELECT is(cleanup_inactive_sessions(28) ->> 'deleted_sessions', '8', 'retention.naive_time_zone America/Bogota makes a naive time five hours younger');
ROLLBACK;
BEGIN;
SELECT fill() \gset
SET LOCAL retention.naive_time_zone = 'Asia/Karachi';
SELECT is(cleanup_inactive_sessions(33) ->> 'deleted_sessions', '10', 'retention.naive_time_zone Asia/Karachi makes it five hours older');
ROLLBACK;

-- Both hands.
CREATE TABLE after_direct AS SELECT * FROM sessions LIMIT 0;
SELECT fill() \gset
SELECT cleanup_inactive_sessions() AS did \gset
INSERT INTO after_direct TABLE sessions;
SELECT fill() \gset
SET retention.direct = off;
SELECT is(cleanup_inactive_sessions() - '{cutoff_time}'::text[], :'did'::jsonb - '{cutoff_time}'::text[], 'retention.direct off gives the same dictionary');
RESET retention.direct;
SELECT set_eq('SELECT id, user_id FROM sessions', 'SELECT id, user_id FROM after_direct', 'and leaves the same sessions');

-- One user.
SELECT fill() \gset
SELECT cleanup_inactive_sessions_for_user(user_named('silent')::text) AS did \gset
SELECT is(:'did'::jsonb - '{cutoff_time,user_id}'::text[],
          '{"success": true, "message": "Deleted 2 inactive sessions", "deleted_sessions": 2, "deleted_image_records": 3, "deleted_video_records": 1, "skipped": 0, "stop_reason": "done"}',
          'cleanup_inactive_sessions_for_user cleans one user''s sessions');
SELECT is(:'did'::jsonb ->> 'user_id', user_named('silent')::text, 'and tells the user');
SELECT is((SELECT count(*) FROM sessions), 14::bigint, 'and touches no other');
SELECT is(cleanup_inactive_sessions_for_user(user_named('lively')::text) ->> 'message', 'No inactive sessions found', 'an active user keeps the sessions');
SELECT is(cleanup_inactive_sessions_for_user(upper(user_named('mute')::text)) ->> 'deleted_sessions', '2', 'a uuid in capitals is the same user');
SELECT is(cleanup_inactive_sessions_for_user(user_named('nobody')::text) - '{cutoff_time,user_id}'::text[],
          '{"success": true, "message": "No inactive sessions found", "deleted_sessions": 0, "deleted_image_records": 0, "deleted_video_records": 0, "skipped": 0, "stop_reason": "done"}',
          'an unknown user has nothing to clean');
SELECT cleanup_inactive_sessions_for_user('not a uuid') AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '22P02', 'G11 an invalid user_id is an error');
SELECT is(:'did'::jsonb -> 'success', 'false', 'with success false');
SELECT is(cleanup_inactive_sessions_for_user($$' OR true --$$) ->> 'sqlstate', '22P02', 'G11 SQL in user_id is only an invalid user_id');
SELECT cleanup_inactive_sessions_for_user(NULL) AS did \gset
SELECT is(:'did'::jsonb ->> 'sqlstate', '22004', 'G11 user_id NULL is an error');
SELECT is(:'did'::jsonb -> 'user_id', 'null', 'and told as null');
SELECT is((SELECT count(*) FROM sessions), 12::bigint, 'and nothing was changed by any of them');

-- Another table that refers to sessions: it has the last word.
CREATE TABLE feedback (id serial PRIMARY KEY, session_id varchar(64) REFERENCES sessions, stars int);
SELECT fill() \gset
INSERT INTO feedback (session_id) VALUES ('silent1'), ('lively1'), (NULL);
SELECT get_inactive_sessions_preview() AS seen \gset
SELECT expected_rows AS may_go, blocked FROM retention.preview('inactive_sessions') WHERE role = 'target' \gset
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is(:'did'::jsonb ->> 'deleted_sessions', '9', 'G2 a session that feedback refers to stays, the others go');
SELECT is(:'did'::jsonb ->> 'message', 'Deleted 9 inactive sessions; skipped 1 (1 blocked)', 'the blocked one is told');
SELECT is((SELECT skipped_blocked FROM retention.runs ORDER BY id DESC LIMIT 1), 1::bigint, 'and counted in retention.runs');
SELECT is((SELECT count(*) FROM "imageSent" WHERE session_id = 'silent1'), 3::bigint, 'G3 its images stay with it');
SELECT is(:'did'::jsonb ->> 'deleted_image_records', '12', 'G3 and are not counted');
SELECT is((SELECT count(*) FROM feedback), 3::bigint, 'G2 feedback stays');
SELECT is(row(:may_go, :blocked)::text, '(9,1)', 'G9 retention.preview told both numbers');
SELECT is(cleanup_inactive_sessions_for_user(user_named('silent')::text) ->> 'message', 'Deleted 0 inactive sessions; skipped 1 (1 blocked)', 'the blocked one stays blocked');
DROP TABLE feedback;

CREATE TABLE feedback (id serial PRIMARY KEY, session_id varchar(64) REFERENCES sessions ON DELETE CASCADE);
CREATE TABLE replies (id serial PRIMARY KEY, feedback_id int REFERENCES feedback ON DELETE CASCADE);
CREATE TABLE calls (id serial PRIMARY KEY, session_id varchar(64) REFERENCES sessions ON DELETE SET NULL);
CREATE TABLE visits (id serial PRIMARY KEY, session_id varchar(64) DEFAULT 'lively1' REFERENCES sessions ON DELETE SET DEFAULT);
SELECT fill() \gset
INSERT INTO feedback (session_id) VALUES ('silent1'), ('lively1');
INSERT INTO replies (feedback_id) VALUES (1), (1), (2);
INSERT INTO calls (session_id) VALUES ('silent1'), ('lively2');
INSERT INTO visits (session_id) VALUES ('silent2'), ('lively2');
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is(:'did'::jsonb ->> 'deleted_sessions', '10', 'what the schema cascades or clears blocks nothing');
SELECT results_eq('SELECT session_id FROM feedback', $$ VALUES ('lively1'::varchar) $$, 'ON DELETE CASCADE goes with the session');
SELECT results_eq('SELECT feedback_id FROM replies', 'VALUES (2)', 'and so does its next level');
SELECT results_eq('SELECT session_id FROM calls ORDER BY id', $$ VALUES (NULL::varchar), ('lively2') $$, 'ON DELETE SET NULL is set to NULL');
SELECT results_eq('SELECT session_id FROM visits ORDER BY id', $$ VALUES ('lively1'::varchar), ('lively2') $$, 'ON DELETE SET DEFAULT is set to its default');
SELECT is((SELECT dependents FROM retention.runs ORDER BY id DESC LIMIT 1),
          '{"stay.feedback": 1, "stay.replies": 2, "stay.calls": 1, "stay.visits": 1, "stay.imageSent": 15, "stay.videoSent": 5}', 'the run counts each table of dependents');
DROP TABLE replies, feedback, calls, visits;

-- A plain key below a dependent keeps the whole family.
CREATE TABLE captions (id serial PRIMARY KEY, image_id int REFERENCES "imageSent");
SELECT fill() \gset
INSERT INTO captions (image_id) SELECT min(id) FROM "imageSent" WHERE session_id = 'silent1';
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is(:'did'::jsonb ->> 'deleted_sessions', '9', 'G3 a reference to an image keeps its session');
SELECT is((SELECT count(*) FROM "imageSent" WHERE session_id = 'silent1'), 3::bigint, 'G3 and every image of it');
SELECT is((SELECT count(*) FROM captions), 1::bigint, 'G2 and what refers to it');
DROP TABLE captions;

-- A session that refers to a session.
ALTER TABLE sessions ADD follows varchar(64) REFERENCES sessions;
SELECT fill() \gset
UPDATE sessions SET follows = 'mute1' WHERE id = 'silent1';
UPDATE sessions SET follows = 'silent1' WHERE id = 'mute1';
UPDATE sessions SET follows = 'botted1' WHERE id = 'lively1';
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is((SELECT count(*) FROM sessions WHERE id IN ('silent1', 'mute1')), 0::bigint, 'two victims that refer to each other go together');
SELECT is((SELECT count(*) FROM sessions WHERE id = 'botted1'), 1::bigint, 'a victim that a living session follows stays');
ALTER TABLE sessions DROP follows;

-- Triggers see each row, and may keep it.
CREATE TABLE seen_by_trigger (id text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stay.seen_by_trigger VALUES (old.id);
    RETURN old;
END $$;
CREATE TRIGGER watch AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION watch();
SELECT fill() \gset
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is((SELECT count(*) FROM seen_by_trigger), 10::bigint, 'a trigger sees each session go');
DROP TRIGGER watch ON sessions;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.id = 'silent1' THEN RAISE 'not this one' USING ERRCODE = 'P0042'; END IF; RETURN old; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT fill() \gset
SELECT cleanup_inactive_sessions() AS did \gset
SELECT is(:'did'::jsonb - '{cutoff_time}'::text[] ->> 'sqlstate', 'P0042', 'an error of a trigger is told with its SQLSTATE');
SELECT is((SELECT count(*) FROM sessions) + (SELECT count(*) FROM "imageSent") + (SELECT count(*) FROM "videoSent"), (16 + 24 + 8)::bigint, 'and everything is rolled back');
SELECT is(:'did'::jsonb ->> 'deleted_sessions', '0', 'and nothing is counted');
DROP TRIGGER refuse ON sessions;
CREATE FUNCTION keep_silently() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.id = 'silent1' THEN RETURN NULL; END IF; RETURN old; END $$;
CREATE TRIGGER keep_silently BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep_silently();
SELECT fill() \gset
SET client_min_messages = error;
SELECT cleanup_inactive_sessions() AS did \gset
SET client_min_messages = warning;
SELECT is((SELECT count(*) FROM sessions WHERE id = 'silent1'), 1::bigint, 'a session that a trigger keeps stays');
SELECT is((SELECT count(*) FROM "imageSent" WHERE session_id = 'silent1'), 3::bigint, 'G3 with its images');
DROP TRIGGER keep_silently ON sessions;

-- Other names.
ALTER TABLE "imageSent" RENAME TO image_sent;
ALTER TABLE "videoSent" RENAME TO video_sent;
ALTER TABLE messages RENAME "timestamp" TO created_at;
CREATE FUNCTION fill_again() RETURNS void LANGUAGE sql AS $$
    INSERT INTO sessions SELECT 's' || n, user_named('silent'), hours_ago(100) FROM generate_series(1, 4) n;
    INSERT INTO image_sent (session_id, property_id) VALUES ('s1', user_named('house')) $$;
SELECT fill_again() \gset
SELECT is(cleanup_inactive_sessions_for_user(user_named('silent')::text) - '{cutoff_time,user_id}'::text[],
          '{"success": true, "message": "Deleted 6 inactive sessions", "deleted_sessions": 6, "deleted_image_records": 4, "deleted_video_records": 1, "skipped": 0, "stop_reason": "done"}',
          'image_sent and video_sent are found too');
ALTER TABLE sessions RENAME TO talks;
ALTER TABLE image_sent RENAME TO pictures;
ALTER TABLE video_sent RENAME TO films;
ALTER TABLE messages RENAME TO lines;
ALTER TABLE lines RENAME sender TO author;
SELECT is(cleanup_inactive_sessions() ->> 'sqlstate', '42P01', 'G11 other names are not guessed');
SELECT throws_ok($$ SELECT retention.adopt_preset('inactive_sessions', target => 'talks', images => 'pictures', videos => 'films', activity => 'lines') $$, '42703', NULL, 'adopt_preset asks for the sender');
SELECT retention.adopt_preset('inactive_sessions', target => 'talks', images => 'pictures', videos => 'films', activity => 'lines',
    activity_condition => $$activity.author = 'user'$$, expire_after => '20 hours') \gset
SELECT is(cleanup_inactive_sessions() - '{cutoff_time}'::text[],
          '{"success": true, "message": "Deleted 8 inactive sessions", "deleted_sessions": 8, "deleted_image_records": 12, "deleted_video_records": 4, "skipped": 0, "stop_reason": "done"}',
          'adopted under other names, the rule works');
SELECT is((SELECT count(*) FROM talks), 6::bigint, 'and leaves the sessions of active users');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA stay CASCADE;
DROP EXTENSION pg_retention;

-- G6 a hold wins on every path: each function that changes rows, each way over the target, each hand, each action, each kind of edge.
-- A function that is not in the registry below, and a way, action or edge that no title here names (test/lint), fails.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_holds
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SET timezone = 'UTC';
SELECT no_plan();

-- ---- Every function of the extension ----

-- A line for each that may change rows of users' tables, with a call of it; an overload has a line of its own.
CREATE TABLE changing (function text, call text);
INSERT INTO changing VALUES
    ('retention.apply', $$PERFORM retention.apply('inactive_sessions')$$),
    ('retention.run', $$CALL retention.run('inactive_sessions', result => r)$$),
    ('retention.run_all', 'CALL retention.run_all(j)'),
    ('cleanup_inactive_carts', 'PERFORM cleanup_inactive_carts()'),
    ('cleanup_inactive_user_carts', 'PERFORM cleanup_inactive_user_carts(10)'),
    ('cleanup_old_cart_items', 'PERFORM cleanup_old_cart_items()'),
    ('cleanup_inactive_sessions', 'PERFORM cleanup_inactive_sessions()'),
    ('cleanup_inactive_sessions_for_user', $$PERFORM cleanup_inactive_sessions_for_user('1'), cleanup_inactive_sessions_for_user('2')$$),
    ('expire_pending_bookings', 'PERFORM expire_pending_bookings()'),
    ('scheduled_cleanup', 'PERFORM scheduled_cleanup()'),
    ('run_data_retention_cleanup', 'PERFORM run_data_retention_cleanup()'),
    ('run_cleanup_now', 'PERFORM run_cleanup_now()'),
    ('run_booking_expiration_now', 'PERFORM run_booking_expiration_now()'),
    -- Their calls stand further down, among archives.
    ('retention.restore', NULL);
-- And for each that changes none: it looks, or it defines.
CREATE TABLE harmless (function text);
INSERT INTO harmless VALUES
    ('retention.library_version'), ('retention.preview'), ('retention.explain'), ('retention.check'), ('retention.run_list'),
    ('retention.export_policies'), ('retention.import_policies'), ('retention.add_policy'), ('retention.alter_policy'), ('retention.adopt_preset'),
    ('retention.add_activity'), ('retention.add_dependent'), ('retention.remove_policy'), ('retention.approve'),
    ('retention.retry_failures'), ('retention.has_archived_rows'), ('retention.pause_policy'), ('retention.resume_policy'),
    ('retention.add_hold'), ('retention.add_hold'), ('retention.add_purge'), ('retention.release_hold'), ('retention.refuse_hold_change'),
    ('get_inactive_carts_preview'), ('get_old_cart_items_preview'), ('get_inactive_sessions_preview'), ('get_expired_bookings_preview'),
    ('get_user_activity'), ('start_cleanup_scheduler'), ('stop_cleanup_scheduler'), ('get_scheduler_status');
SELECT set_eq($$ SELECT CASE n.nspname WHEN 'retention' THEN 'retention.' ELSE '' END || p.proname, count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                   JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
                   JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass WHERE e.extname = 'pg_retention' GROUP BY 1 $$,
              'SELECT function, count(*) FROM (SELECT function FROM changing UNION ALL SELECT function FROM harmless) f GROUP BY 1',
              'G6 every function of the extension is known here: it is called over rows under hold, or changes none');

CREATE TABLE users (id int PRIMARY KEY, last_active timestamptz);
CREATE TABLE carts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
CREATE TABLE cart_items (id int PRIMARY KEY, cart_id int NOT NULL REFERENCES carts, created_at timestamptz);
CREATE TABLE sessions (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users, created_at timestamptz);
CREATE TABLE messages (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users, sender text, "timestamp" timestamptz);
CREATE TABLE "imageSent" (id int PRIMARY KEY, session_id int NOT NULL REFERENCES sessions);
CREATE TABLE "videoSent" (id int PRIMARY KEY, session_id int NOT NULL REFERENCES sessions);
CREATE TABLE bookings (booking_id text PRIMARY KEY, status text NOT NULL, created_at timestamptz, updated_at timestamptz);
-- The customer 1 is under hold, everywhere; of customer 2 an item, an image and, by a condition, a booking.
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE users, carts, cart_items, sessions, messages, "imageSent", "videoSent", bookings;
    INSERT INTO users SELECT g, now() - interval '1 year' FROM generate_series(1, 3) g;
    INSERT INTO carts SELECT id, id FROM users;
    INSERT INTO cart_items SELECT u.id * 10 + g, u.id, now() - interval '1 year' FROM users u, generate_series(1, 3) g;
    INSERT INTO sessions SELECT u.id * 10 + g, u.id, now() - interval '1 year' FROM users u, generate_series(1, 3) g;
    INSERT INTO "imageSent" SELECT id, id FROM sessions;
    INSERT INTO "videoSent" SELECT id, id FROM sessions;
    INSERT INTO bookings SELECT 'b' || g, 'Pending', now() - interval '1 year' FROM generate_series(1, 3) g $$;
SELECT fill() \gset
SELECT count(retention.adopt_preset(p)) FROM unnest('{inactive_carts,old_cart_items,inactive_sessions,pending_bookings}'::text[]) p \gset
SELECT retention.add_hold('users', key => '{"id": 1}', reason => 'case 1') \gset
SELECT retention.add_hold('cart_items', 'id = 21', 'case 2') \gset
SELECT retention.add_hold('"imageSent"', key => '{"id": 22}', reason => 'case 3') \gset
SELECT retention.add_hold('bookings', $$booking_id IN ('b1', 'b2') AND status <> 'Expired'$$, 'case 4', until => 'tomorrow') \gset
-- What must stay as it is, word by word.
CREATE FUNCTION under_hold() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(r, ' ' ORDER BY r) FROM (
        SELECT 'item ' || id FROM cart_items WHERE id IN (11, 12, 13, 21) UNION ALL SELECT 'session ' || id FROM sessions WHERE id IN (11, 12, 13, 22)
        UNION ALL SELECT 'image ' || id FROM "imageSent" WHERE id IN (11, 12, 13, 22) UNION ALL SELECT 'video ' || id FROM "videoSent" WHERE id IN (11, 12, 13, 22)
        UNION ALL SELECT concat(booking_id, status, updated_at) FROM bookings WHERE booking_id IN ('b1', 'b2')) u (r) $$;
CREATE FUNCTION others() RETURNS bigint LANGUAGE sql AS $$
    SELECT (SELECT count(*) FROM cart_items) + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM "imageSent") + (SELECT count(*) FROM "videoSent")
           + (SELECT count(*) FROM bookings WHERE status = 'Pending') $$;
CREATE TABLE world AS SELECT under_hold() AS held, others() AS rows;
SELECT is((SELECT array_length(string_to_array(held, ' '), 1) FROM world), 34, 'the rows under hold are looked at');

SELECT 'DO $$ BEGIN PERFORM fill(); END $$', format('DO $x$ DECLARE r retention.result; j jsonb; BEGIN %s; END $x$', call), format('SELECT is(under_hold(), (SELECT held FROM world), %L)', 'G6 ' || function || '() touches no row under hold'),
       format('SELECT isnt(others(), (SELECT rows FROM world), %L)', function || '(): and others go')
  FROM changing WHERE call IS NOT NULL ORDER BY function \gexec

-- Preview and run tell the same.
SELECT fill() \gset
SELECT results_eq('SELECT role, expected_rows, blocked, held FROM retention.preview(''inactive_sessions'') ORDER BY relation COLLATE "C"',
                  $$ VALUES ('dependent', 5::bigint, 0::bigint, 0::bigint), ('target', 5, 0, 4), ('dependent', 5, 0, 0) $$, 'G9 the preview counts victims under hold apart, those of a held dependent too');
SELECT is((SELECT (affected, skipped_held) FROM retention.apply('inactive_sessions'))::text, '(5,4)', 'G9 as the run does');
SELECT fill() \gset
SELECT is((SELECT jsonb_object_agg(k, v) FROM jsonb_each(get_inactive_carts_preview()) e (k, v) WHERE k IN ('deleted_items', 'affected_carts', 'held')), '{"held": 4, "deleted_items": 5, "affected_carts": 2}', 'G9 the list of carts is without them');
SELECT is((SELECT jsonb_object_agg(k, v) FROM jsonb_each(get_old_cart_items_preview()) e (k, v) WHERE k IN ('deleted_items', 'held')), '{"held": 4, "deleted_items": 5}', 'G9 the list of items is without them');
SELECT is((SELECT jsonb_agg(s->'id' ORDER BY s->'id') FROM jsonb_array_elements(get_inactive_sessions_preview()->'inactive_sessions') s), '[21, 23, 31, 32, 33]', 'G9 the list of sessions is without them');
SELECT is((SELECT jsonb_agg(b->'booking_id') FROM jsonb_array_elements(get_expired_bookings_preview()->'expired_bookings') b), '["b3"]', 'G9 the list of bookings is without them');
SELECT is((SELECT r->>'message' FROM cleanup_inactive_carts() r), 'Deleted 5 cart items from 3 inactive users; skipped 4 (4 held)', 'the function tells how many are held');

-- ---- Every way, hand, action and edge ----

-- Rows 1 to 300 of which every seventh is under hold; the children of every eleventh are.
CREATE TABLE owner (id int PRIMARY KEY, last_active timestamptz);
CREATE TABLE target (id int PRIMARY KEY, owner_id int NOT NULL REFERENCES owner, at timestamptz, state text);
CREATE TABLE child (id int PRIMARY KEY, target_id int, state text);
CREATE FUNCTION fill_target() RETURNS void LANGUAGE sql AS $$
    TRUNCATE owner, target, child;
    INSERT INTO owner SELECT g, now() - interval '1 year' FROM generate_series(1, 20) g;
    INSERT INTO target SELECT g, 1 + g % 20, now() - interval '1 year', 'old' FROM generate_series(1, 300) g;
    INSERT INTO child SELECT g, g, 'old' FROM generate_series(1, 300) g $$;
SELECT fill_target() \gset
ANALYZE;
SELECT retention.add_hold('target', 'id % 7 = 0', 'case 5') \gset
-- How each way is brought about.
CREATE TABLE way (way text, walk text, reason text, time_column text, subject regclass, condition text);
INSERT INTO way VALUES
    ('keys', 'blocks', 'keys of the expired subjects', 'last_active', 'owner', NULL),
    ('ranges', 'blocks', 'each range of blocks', 'at', NULL, 'target.id > 0'),
    ('versions', 'list', 'recognised by their versions', 'last_active', 'owner', 'target.id > 0'),
    ('judged', 'list', 'whole statement', 'at', NULL, 'target.id IN (SELECT generate_series(1, 300))');
CREATE TABLE action (action text, word text, set_clause text);
INSERT INTO action VALUES ('remove', 'delete', NULL), ('update', 'update', $$state = 'new'$$), ('archive', 'archive', NULL);
CREATE TABLE edge (edge text, key text, dependents text, said text, kept int);
INSERT INTO edge VALUES
    ('none', NULL, 'refuse', NULL, 0),
    ('remove', 'ON DELETE CASCADE', 'refuse', NULL, 11),
    ('set_null', '', 'refuse', 'set_null', 11),
    ('clear', 'ON DELETE SET NULL', 'refuse', NULL, 11),
    ('refuse', '', 'refuse', NULL, 0);
CREATE FUNCTION define(way text, action text, edge text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    w way; a action; e edge;
BEGIN
    SELECT * INTO w FROM way x WHERE x.way = define.way; SELECT * INTO a FROM action x WHERE x.action = define.action; SELECT * INTO e FROM edge x WHERE x.edge = define.edge;
    ALTER TABLE child DROP CONSTRAINT IF EXISTS child_key;
    PERFORM fill_target();
    TRUNCATE target_archive, child_archive;
    -- Where something refuses, only every second row is referred to.
    IF e.edge = 'refuse' THEN DELETE FROM child WHERE id % 2 = 0; END IF;
    IF e.key IS NOT NULL THEN EXECUTE 'ALTER TABLE child ADD CONSTRAINT child_key FOREIGN KEY (target_id) REFERENCES target ' || e.key; END IF;
    PERFORM retention.remove_policy('p', if_exists => true);
    PERFORM retention.add_policy('p', 'target', '90 days', w.time_column, subject => w.subject, condition => w.condition, action => a.word, set_clause => a.set_clause,
        dependents => CASE WHEN a.action = 'update' AND e.edge = 'remove' THEN 'cascade' ELSE e.dependents END);
    IF e.said IS NOT NULL THEN PERFORM retention.add_dependent('p', 'child', action => e.said); END IF;
END $$;
CREATE TABLE target_archive (LIKE target, retention_run_id bigint NOT NULL, archived_at timestamptz NOT NULL);
CREATE TABLE child_archive (LIKE child, retention_run_id bigint NOT NULL, archived_at timestamptz NOT NULL);
SELECT retention.add_hold('child', 'id % 11 = 0', 'case 6') \gset
-- Whether what is left is what the holds and the edge keep, untouched, and everything else is done.
CREATE FUNCTION wrong(action text, edge text, kept int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(g::text, ' ' ORDER BY g) FROM generate_series(1, 300) g LEFT JOIN target t ON t.id = g LEFT JOIN child c ON c.id = g
     WHERE CASE WHEN g % 7 = 0 OR kept > 0 AND g % kept = 0 OR edge = 'refuse' AND g % 2 = 1
                THEN t.state IS DISTINCT FROM 'old' OR (edge <> 'refuse' OR g % 2 = 1) AND (c.target_id, c.state) IS DISTINCT FROM (g, 'old')
                ELSE CASE WHEN action = 'update' THEN t.state IS DISTINCT FROM 'new' ELSE t.id IS NOT NULL END END $$;
SELECT format('DO $$ BEGIN PERFORM define(%L, %L, %L); END $$', way, action, edge), 'ANALYZE target', format('SET retention.direct = %L', hand), format('SET retention.walk = %L', CASE WHEN walk = 'list' AND way = 'versions' THEN 'list' ELSE 'blocks' END),
       format('DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''p'', batch_rows => 40%s, result => r); END $$', slice),
       slice_two,
       format('SELECT is(wrong(%L, %L, %s), NULL, %L)', action, edge, kept, 'G6 way ' || way || ', action ' || action || ', edge ' || edge || ', direct ' || hand || CASE WHEN slice = '' THEN '' ELSE ', slices' END),
       format('SELECT matches((SELECT reason FROM retention.runs ORDER BY id DESC LIMIT 1), %L, %L)', reason, 'as meant: way ' || way || ', action ' || action || ', edge ' || edge || ', direct ' || hand),
       format('SELECT is((SELECT sum(skipped_held) FROM (SELECT skipped_held FROM retention.runs ORDER BY id DESC LIMIT %s) r), %s::numeric, ''G9 and as many are counted as held'')', CASE WHEN slice = '' THEN 1 ELSE 2 END,
              (SELECT count(*) FROM generate_series(1, 300) g WHERE g % 7 = 0 OR kept > 0 AND g % kept = 0))
  FROM way, action, edge, (VALUES ('on'), ('off')) h (hand),
       (VALUES ('', 'SELECT'), (', slice => 1, slices => 2', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''p'', batch_rows => 40, slice => 2, slices => 2, result => r); END $$')) s (slice, slice_two)
 WHERE (action = 'remove' OR hand = 'off')
   AND (action <> 'update' OR edge IN ('none', 'remove') AND way NOT IN ('keys') AND NOT (way = 'ranges' AND (edge <> 'none' OR slice <> '')))
   AND (slice = '' OR edge = 'none')
 ORDER BY way, action, edge, hand, slice \gexec
RESET retention.direct;
RESET retention.walk;

-- In the caller's transaction, both hands.
SELECT format('DO $$ BEGIN PERFORM define(%L, %L, %L); END $$', way, action, edge), format('SET retention.direct = %L', hand),
       format('SELECT is((SELECT skipped_held FROM retention.apply(''p'')), %s::bigint, ''G9 apply counts them'')', (SELECT count(*) FROM generate_series(1, 300) g WHERE g % 7 = 0 OR kept > 0 AND g % kept = 0)),
       format('SELECT is(wrong(%L, %L, %s), NULL, %L)', action, edge, kept, 'G6 apply, way ' || way || ', action ' || action || ', edge ' || edge || ', direct ' || hand)
  FROM way, action, edge, (VALUES ('on'), ('off')) h (hand)
 WHERE way IN ('keys', 'judged') AND (action = 'remove' OR hand = 'off') AND (action <> 'update' OR edge IN ('none', 'remove'))
 ORDER BY way, action, edge, hand \gexec
RESET retention.direct;

-- ---- Archives ----

-- The customer of archived rows, a row of a dependent, a row of the target, and a row in the archive itself.
CREATE TABLE customer (id int PRIMARY KEY);
CREATE TABLE deal (id int PRIMARY KEY, customer int REFERENCES customer, at timestamptz);
CREATE TABLE line (id int PRIMARY KEY, deal int REFERENCES deal ON DELETE CASCADE);
INSERT INTO customer SELECT generate_series(1, 8);
INSERT INTO deal SELECT id, id, now() - interval '1 year' FROM customer;
INSERT INTO line SELECT id, id FROM deal;
SELECT retention.add_policy('deals', 'deal', '90 days', 'at', action => 'archive') \gset
SELECT is((SELECT affected FROM retention.apply('deals')), 8::bigint, 'rows are archived');
SELECT retention.add_purge('deals', '1 day') \gset
UPDATE deal_archive SET archived_at = now() - interval '1 year';
UPDATE line_archive SET archived_at = now() - interval '1 year';
SELECT retention.add_hold('customer', key => '{"id": 1}', reason => 'the customer') AS of_customer \gset
SELECT retention.add_hold('line', 'id = 2', 'a dependent') \gset
SELECT retention.add_hold('deal', key => '{"id": 3}', reason => 'the row') \gset
SELECT retention.add_hold('deal_archive', 'id = 4', 'where it lies now') AS of_archive \gset
SELECT is((SELECT sum(held) FROM retention.preview('deals_purge')), 4::numeric, 'G9 the preview of a purge counts archived rows under hold');
BEGIN;
SELECT is((SELECT (affected, skipped_held) FROM retention.apply('deals_purge'))::text, '(4,4)', 'G6 a purge leaves archived rows whose customer, whose own row or whose dependent is under hold, and those in an archive under hold');
SELECT is((SELECT string_agg(id::text, ' ' ORDER BY id) FROM deal_archive) || ' | ' || (SELECT string_agg(id::text, ' ' ORDER BY id) FROM line_archive), '1 2 3 4 | 1 2 3 4', 'with all that was archived along');
ROLLBACK;
SELECT is((SELECT (affected, skipped_held) FROM retention.restore((SELECT max(id) FROM retention.runs WHERE policy = 'deals')))::text, '(7,1)', 'G6 retention.restore, action restore: a row that a hold on the archive keeps there stays; others return to where holds keep them');
SELECT is((SELECT string_agg(id::text, ' ' ORDER BY id) FROM deal_archive) || ' | ' || (SELECT string_agg(id::text, ' ' ORDER BY id) FROM line_archive), '4 | 4', 'with what belongs to it');
SELECT is((SELECT skipped_held FROM retention.apply('deals')), 3::bigint, 'and there no run archives them again');
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('deals_purge', result => r); END $$;
SELECT is((SELECT string_agg(id::text, ' ' ORDER BY id) FROM deal_archive WHERE archived_at < now() - interval '1 day'), '4', 'G6 nor does a run in batches purge it');
SELECT retention.release_hold(:of_archive, 'over') \gset
SELECT is((SELECT (affected, skipped_held) FROM retention.apply('deals_purge'))::text, '(1,0)', 'a hold that is released keeps nothing in the archive');

-- ---- A hold placed while a run is on ----

-- A trigger of the target places it as the first row goes: it counts from the next batch.
CREATE FUNCTION place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM retention.hold WHERE reason = 'placed meanwhile') THEN
        PERFORM retention.add_hold('policy_holds.target', 'id > 250', 'placed meanwhile');
    END IF;
    RETURN NULL;
END $$;
SELECT define('ranges', 'remove', 'none') \gset
CREATE TRIGGER place AFTER DELETE ON target FOR EACH ROW EXECUTE FUNCTION place();
DO $$ DECLARE r retention.result; BEGIN CALL retention.run('p', batch_rows => 20, result => r); END $$;
SELECT is((SELECT count(*) FROM target WHERE id > 250), 50::bigint, 'G6 a hold that is placed while a run is on counts from the next batch');

SELECT * FROM finish();
DROP EXTENSION pg_retention;

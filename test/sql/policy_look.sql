-- Looking before leaping: preview, explain, and the advisor.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_look
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET datestyle = 'ISO';
SELECT plan(57);

\i :functions

-- ---- Preview ----

CREATE TABLE visits (user_id int, at bigint);
CREATE TABLE a (id int PRIMARY KEY, at timestamptz);
CREATE TABLE b (id int, sub int, a_id int REFERENCES a ON DELETE CASCADE, PRIMARY KEY (id, sub));
CREATE TABLE c (id int PRIMARY KEY, a_id int REFERENCES a);
INSERT INTO a SELECT n, ago(n * 10) FROM generate_series(1, 20) n;
INSERT INTO a VALUES (21, 'infinity'), (22, NULL);
INSERT INTO b SELECT n, 1, n FROM generate_series(1, 20) n;
INSERT INTO c VALUES (1, 10), (2, 11), (3, 1);
SELECT retention.add_policy('p', 'a', '95 days', 'at') \gset
SELECT results_eq($$ SELECT relation, role, expected_rows, blocked, held FROM retention.preview('p') $$,
    $$ VALUES ('policy_look.a', 'target', 9::bigint, 2::bigint, 0::bigint), ('policy_look.b', 'dependent', 9, 0, 0) $$, 'the preview has a row for each table that would change');
SELECT is((SELECT row(oldest, newest)::text FROM retention.preview('p') WHERE role = 'target'), (SELECT row(min(at), max(at))::text FROM a WHERE at < ago(95)), 'with the oldest and the newest instant');
SELECT is((SELECT jsonb_array_length(sample_keys) FROM retention.preview('p') WHERE role = 'target'), 5, 'and five sample keys');
SELECT ok((SELECT bool_and(EXISTS (SELECT FROM a WHERE a.id = (k ->> 'id')::int AND at < ago(95)) AND k ->> 'id' NOT IN ('10', '11')) FROM retention.preview('p', sample => 1000), jsonb_array_elements(sample_keys) k WHERE role = 'target'), 'which are keys of rows that would go');
SELECT is((SELECT jsonb_array_length(sample_keys) FROM retention.preview('p', sample => 1000) WHERE role = 'target'), 9, 'all of them where so many are asked for');
SELECT is((SELECT array_agg(k ORDER BY k) FROM retention.preview('p', sample => 1), jsonb_object_keys(sample_keys -> 0) k WHERE role = 'dependent'), '{id,sub}', 'a key of two columns has both');
SELECT is((SELECT sample_keys FROM retention.preview('p', sample => 0) WHERE role = 'target'), '[]', 'sample 0 gives none');
SELECT throws_ok($$ SELECT retention.preview('p', sample => -1) $$, '22023', 'sample must be between 0 and 1000', 'G11 and a negative one is an error');
SELECT throws_ok($$ SELECT retention.preview('q') $$, '42704', NULL, 'G11 as is a policy that does not exist');
SELECT is((SELECT expected_rows FROM retention.preview('p', as_of => now() + interval '30 days') WHERE role = 'target'), 12::bigint, 'as_of in the future: what will go by then');
SELECT is((SELECT expected_rows FROM retention.preview('p', as_of => now() - interval '100 days') WHERE role = 'target'), 1::bigint, 'as_of in the past: what should have gone by then');
BEGIN READ ONLY;
SELECT is((SELECT sum(expected_rows) FROM retention.preview('p')), 18::numeric, 'the preview works in a read-only transaction');
COMMIT;
SELECT is((SELECT count(*) FROM a) + (SELECT count(*) FROM b) + (SELECT count(*) FROM retention.runs), 42::bigint, 'and changes nothing');
SELECT expected_rows AS announced, blocked AS stuck FROM retention.preview('p') WHERE role = 'target' \gset
SELECT results_eq($$ SELECT affected, skipped_blocked, skipped_locked + skipped_held + skipped_returned, dependents FROM retention.apply('p') $$,
    format($$ VALUES (%s::bigint, %s::bigint, 0::bigint, '{"policy_look.b": 9}'::jsonb) $$, :announced, :stuck), 'G9 preview = affected + skipped');
SELECT is((SELECT count(*) FROM b), 11::bigint, 'G9 dependents too');
SELECT results_eq($$ SELECT expected_rows, blocked FROM retention.preview('p') WHERE role = 'target' $$, $$ VALUES (0::bigint, 2::bigint) $$, 'after the run only what is blocked is left');

-- ---- Explain ----

SELECT results_eq($$ SELECT step, what, relation FROM retention.explain('p') $$, $$ VALUES (1, 'cutoff', 'policy_look.a'), (2, 'choose', 'policy_look.a'), (3, 'walk', 'policy_look.a'), (4, 'dependents', 'policy_look.b'), (5, 'dependents', 'policy_look.c'), (6, 'change', 'policy_look.a') $$,
    'explain tells the steps in order');
SELECT ok((SELECT bool_and(reason <> '') FROM retention.explain('p')), 'each with its reason');
SELECT is((SELECT count(*) FROM a), 13::bigint, 'and runs nothing');
SELECT statement AS chosen FROM retention.explain('p') WHERE what = 'choose' \gset
PREPARE chosen (timestamptz) AS :chosen;
SELECT lives_ok($$ EXECUTE chosen (now()) $$, 'its statements are SQL');
SELECT matches((SELECT reason FROM retention.explain('p') WHERE what = 'change'), '^direct:', 'the hand is told: direct where the engine itself follows what refers to the target');
SELECT retention.add_policy('direct', 'visits', '1 day', 'at', time_unit => 's') \gset
SELECT matches((SELECT reason FROM retention.explain('direct') WHERE what = 'change'), '^direct:', 'direct where nothing would miss the rows');
SET retention.direct = off;
SELECT is((SELECT reason FROM retention.explain('direct') WHERE what = 'change'), 'SQL: the setting retention.direct is off', 'unless it is switched off');
RESET retention.direct;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$;
CREATE TRIGGER watch BEFORE DELETE ON visits FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT is((SELECT reason FROM retention.explain('direct') WHERE what = 'change'), 'SQL: it has triggers for DELETE', 'or a trigger watches');
SELECT retention.remove_policy('direct') \gset
SELECT throws_ok($$ SELECT * FROM retention.explain('q') $$, '42704', NULL, 'G11 a policy that does not exist is an error');
SELECT retention.remove_policy('p') \gset

-- ---- The advisor ----

-- Findings of a policy that are like the pattern; mend runs their remedies.
CREATE FUNCTION found(pattern text) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(severity || ' ' || object, ', ' ORDER BY object) FROM retention.check('w') WHERE finding LIKE pattern $$;
CREATE FUNCTION mend(pattern text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    remedy text;
    n bigint := 0;
BEGIN
    FOR remedy IN SELECT c.remedy FROM retention.check('w') c WHERE finding LIKE pattern LOOP
        EXECUTE replace(remedy, 'CONCURRENTLY ', '');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
CREATE TABLE w (id int PRIMARY KEY, at timestamptz, kind int);
CREATE TABLE w_child (id int PRIMARY KEY, w_id int REFERENCES w ON DELETE CASCADE);
CREATE TABLE "W part" (id int PRIMARY KEY, "w id" int REFERENCES w);
SELECT retention.add_policy('w', 'w', '30 days', 'at', dependents => 'cascade') \gset
SELECT is(found('has never run'), 'warning w', 'the advisor finds a policy that has never run');
SELECT mend('has never run') \gset
SELECT is(found('has never run'), NULL, 'and not after its remedy');
SELECT is(found('no index on %, the time column'), 'warning policy_look.w', 'no index on the time column');
SELECT mend('no index on %, the time column') \gset
SELECT is(found('no index on %, the time column'), NULL, 'and not after its remedy');
SELECT is(found('no index on %, the key that refers to %'), 'warning policy_look.W part, warning policy_look.w_child', 'no index on a referring key');
SELECT mend('no index on %, the key that refers to %') \gset
SELECT is(found('no index on %'), NULL, 'and not after their remedies');
SELECT is(found('%ON DELETE CASCADE%'), 'info policy_look.w_child', 'a key that is ON DELETE CASCADE');
ALTER TABLE w_child DROP CONSTRAINT w_child_w_id_fkey, ADD FOREIGN KEY (w_id) REFERENCES w;
SELECT is(found('%ON DELETE CASCADE%'), NULL, 'and not when it is another');
SELECT is((SELECT string_agg(finding, '; ') FROM retention.check('w')), NULL, 'a policy in good order has no findings');
UPDATE retention.run SET finished = finished - interval '3 days', started = started - interval '3 days' WHERE policy = 'w';
SELECT is(found('last success was at %'), 'warning w', 'a last success that is long ago');
SELECT mend('last success was at %') \gset
SELECT is(found('last success was at %'), NULL, 'and not after its remedy');
UPDATE retention.run SET success = false WHERE policy = 'w';
SELECT is(found('has never run successfully'), 'error w', 'runs that all failed');
SELECT retention.apply('w') \gset
SELECT is(found('has never run successfully'), NULL, 'and not after one that did not');
INSERT INTO w SELECT n, ago(n), n FROM generate_series(25, 75, 10) n;
SELECT is(found('% rows expired more than one whole period ago%'), 'warning policy_look.w', 'a backlog');
SELECT matches((SELECT finding FROM retention.check('w')), '^2 rows expired more than one whole period ago, the oldest at ', 'with its size and its oldest age');
SELECT mend('% rows expired%') \gset
SELECT is(found('% rows expired%'), NULL, 'and not after its remedy');
ALTER TABLE w ENABLE ROW LEVEL SECURITY;
SELECT is(found('row security is on%'), 'warning policy_look.w', 'row security');
ALTER TABLE w DISABLE ROW LEVEL SECURITY;
SELECT is(found('row security is on%'), NULL, 'and not when it is off');
CREATE TRIGGER watch AFTER DELETE ON w_child FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT is(found('triggers on DELETE%'), 'info policy_look.w_child', 'a trigger that fires for every row');
ALTER TABLE w_child DISABLE TRIGGER watch;
SELECT is(found('triggers on DELETE%'), NULL, 'and not when it is disabled');
ALTER TABLE w DROP CONSTRAINT w_pkey CASCADE;
SET client_min_messages = error;
CREATE PUBLICATION policy_look FOR TABLE w;
SET client_min_messages = warning;
SELECT is(found('published, with no replica identity%'), 'error policy_look.w', 'a publication of a table without replica identity');
SELECT mend('published%') \gset
SELECT is(found('published%'), NULL, 'and not after its remedy');
DROP PUBLICATION policy_look;
CREATE MATERIALIZED VIEW "Seen w" AS SELECT kind, count(*) FROM w GROUP BY 1;
SELECT is(found('a materialized view over %'), 'info policy_look."Seen w"', 'a materialized view over the target');
SELECT lives_ok($$ SELECT mend('a materialized view over %') $$, 'whose remedy refreshes it');
DROP MATERIALIZED VIEW "Seen w";
SELECT is(found('a materialized view over %'), NULL, 'and not when it is gone');
SELECT retention.pause_policy('w') \gset
SELECT is(found('paused'), 'info w', 'a paused policy');
SELECT mend('paused') \gset
SELECT is(found('paused'), NULL, 'and not after its remedy');
TRUNCATE w, w_child, "W part";
INSERT INTO w SELECT n, ago(31), n FROM generate_series(1, 20000) n;
ANALYZE w;
SELECT retention.alter_policy('w', condition => 'target.kind = 7') \gset
DROP INDEX w_at_idx;
SELECT is(found('the planner finds no index for the condition%'), 'info policy_look.w', 'a condition that the planner finds no index for');
CREATE INDEX ON w (kind);
SELECT is(found('the planner finds no index for the condition%'), NULL, 'and not when there is one');
ALTER TABLE w DROP COLUMN at;
SELECT is(found('the policy cannot run: %'), 'error policy_look.w', 'a policy that cannot run');
SELECT is((SELECT count(*) FROM retention.check() WHERE policy_name = 'w') > 0, true, 'check() without a name looks at all policies');
SELECT throws_ok($$ SELECT * FROM retention.check('q') $$, '42704', NULL, 'G11 a policy that does not exist is an error');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_look CASCADE;
DROP EXTENSION pg_retention;

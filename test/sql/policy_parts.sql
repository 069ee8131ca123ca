-- Partitions and heirs: rows are judged and changed where they lie, and to the same end as by a statement on the table.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_parts
\set begin :test '/begin.psql'
\i :begin
SET client_min_messages = error;
SET timezone = 'UTC';
SELECT no_plan();

\i :functions

-- ---- The same as by hand ----

-- Tables of the name t, each with (id, at, note) and something about its parts; what may be done to them; and who does it.
CREATE FUNCTION spread() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.id < 100 THEN RETURN new; ELSIF new.id < 200 THEN INSERT INTO policy_parts.t1 VALUES (new.*); ELSE INSERT INTO policy_parts.t2 VALUES (new.*); END IF; RETURN NULL; END $$;
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.id := new.id + 500; RETURN new; END $$;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO policy_parts.seen SELECT tg_relname, count(*) FROM was; RETURN NULL; END $$;
CREATE TABLE shape (name text, make text);
INSERT INTO shape VALUES
    ('partitions', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'', PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (1000); CREATE TABLE t3 PARTITION OF t DEFAULT'),
    ('one partition in another order', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t2 (note text DEFAULT ''leaf'', gone int, at timestamptz, id int); ALTER TABLE t2 DROP COLUMN gone;
        ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (100) TO (5000)'),
    ('a lone partition in another order', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY RANGE (id);
        CREATE TABLE t2 (note text DEFAULT ''leaf'', at timestamptz, id int); ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (0) TO (5000)'),
    ('partitions by the note', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY LIST (note);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (''old''); CREATE TABLE t2 PARTITION OF t DEFAULT'),
    ('partitions by an expression', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY LIST (length(note));
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (3); CREATE TABLE t2 PARTITION OF t DEFAULT'),
    ('partitions of partitions', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY LIST (note); CREATE TABLE t11 PARTITION OF t1 FOR VALUES IN (''old''); CREATE TABLE t12 PARTITION OF t1 DEFAULT;
        CREATE TABLE t2 PARTITION OF t DEFAULT'),
    ('a partition under a table of others', 'CREATE TABLE above (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY RANGE (id); CREATE TABLE t PARTITION OF above FOR VALUES FROM (0) TO (5000) PARTITION BY LIST (note);
        CREATE TABLE t1 PARTITION OF t FOR VALUES IN (''old''); CREATE TABLE t2 PARTITION OF t DEFAULT'),
    ('heirs', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root''); CREATE TABLE t1 (PRIMARY KEY (id)) INHERITS (t); CREATE TABLE t2 (extra text DEFAULT ''x'') INHERITS (t1);
        ALTER TABLE t2 ALTER note SET DEFAULT ''leaf''; CREATE TRIGGER spread BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION spread()'),
    ('a trigger that moves the row', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t2 PARTITION OF t DEFAULT;
        CREATE TRIGGER move BEFORE UPDATE ON t1 FOR EACH ROW WHEN (old.id % 3 = 0) EXECUTE FUNCTION move()'),
    ('statement triggers on the table and a part', 'CREATE TABLE t (id int, at timestamptz, note text DEFAULT ''root'') PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t2 PARTITION OF t DEFAULT; CREATE TABLE seen (place text, n bigint);
        CREATE TRIGGER see_u AFTER UPDATE ON t REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION see();
        CREATE TRIGGER see_d AFTER DELETE ON t REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION see();
        CREATE TRIGGER see_u AFTER UPDATE ON t1 REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION see()');
CREATE TABLE act (name text, condition text, set_clause text);
INSERT INTO act VALUES
    ('removed', 'true', NULL),
    ('removed by the whole row', 'target::text LIKE ''('' || target.id || '',%''', NULL),
    ('kept by the whole row', 'target::text NOT LIKE ''('' || target.id || '',%'' OR to_jsonb(target) ? ''extra''', NULL),
    ('kept by a whole row in a sub-query', 'EXISTS (SELECT FROM jsonb_object_keys(to_jsonb(target)) k WHERE k = ''extra'')', NULL),
    ('removed by a sub-query', 'target.id IN (SELECT g * 2 FROM generate_series(1, 400) g)', NULL),
    ('updated', 'target.note = ''old''', 'note = ''over'''),
    ('updated to the default', 'target.note = ''old''', 'note = DEFAULT'),
    ('updated by the whole row', 'target.note = ''old''', 'note = left(target::text, 3)'),
    ('updated by a sub-query', 'target.note IN (SELECT ''old'')', 'note = (SELECT ''over'' || count(*) FROM generate_series(1, 3))'),
    ('updated more than once', 'target.id % 5 <> 0', 'note = target.note || ''+'''),
    ('updated in two columns', 'target.note = ''old''', '(note, at) = (''over'', ''2001-01-01'')');
CREATE FUNCTION state() RETURNS text LANGUAGE plpgsql AS $$
DECLARE seen text := ''; place text;
BEGIN
    IF to_regclass('seen') IS NOT NULL THEN SELECT COALESCE(string_agg(DISTINCT s.place, ',') || ' ' || sum(n), 'none') INTO seen FROM seen s WHERE n > 0; END IF;
    SELECT string_agg(tableoid::regclass || to_jsonb(t)::text, E'\n' ORDER BY id) INTO place FROM t;
    RETURN seen || md5(COALESCE(place, 'none')) || ' ' || (SELECT count(*) FROM t);
END $$;
CREATE PROCEDURE make(of text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM retention.remove_policy('p', if_exists => true);
    DROP TABLE IF EXISTS t, above, seen CASCADE;
    EXECUTE (SELECT make FROM shape WHERE name = of);
    INSERT INTO t SELECT g, CASE WHEN g % 7 = 0 THEN timestamptz '2100-01-01' ELSE '2000-01-01' END, CASE WHEN g % 2 = 0 THEN 'old' ELSE 'new' END FROM generate_series(1, 400) g;
END $$;
-- What a statement by hand leaves, and how many rows it changes.
CREATE TABLE by_hand (state text, n bigint);
CREATE PROCEDURE do_by_hand(of_name text) LANGUAGE plpgsql AS $$
DECLARE of act; n bigint;
BEGIN
    SELECT * INTO of FROM act WHERE name = of_name;
    EXECUTE CASE WHEN of.set_clause IS NULL THEN 'DELETE FROM t AS target' ELSE 'UPDATE t AS target SET ' || of.set_clause END || ' WHERE at < now() - interval ''1 day'' AND (' || of.condition || ')';
    GET DIAGNOSTICS n = ROW_COUNT;
    DELETE FROM by_hand;
    INSERT INTO by_hand SELECT state(), n;
END $$;
CREATE PROCEDURE add(of_name text) LANGUAGE plpgsql AS $$
DECLARE of act;
BEGIN
    SELECT * INTO of FROM act WHERE name = of_name;
    PERFORM retention.add_policy('p', 't', '1 day', 'at', condition => of.condition, action => CASE WHEN of.set_clause IS NULL THEN 'delete' ELSE 'update' END, set_clause => of.set_clause);
END $$;
SELECT format('CALL make(%L)', shape.name), format('CALL do_by_hand(%L)', act.name),
       format('CALL make(%L)', shape.name), format('CALL add(%L)', act.name), 'ANALYZE t', who.prepare, who.run, 'RESET retention.walk',
       format('SELECT is(state(), (SELECT state FROM by_hand), %L)', format('G1 %s, %s, %s: the rows are as a statement on the table leaves them', shape.name, act.name, who.name)),
       format('SELECT is(last(''affected''), (SELECT n::text FROM by_hand), %L)', format('G4 %s, %s, %s: it tells so many', shape.name, act.name, who.name))
  FROM shape, act, (VALUES ('apply', 'RESET retention.walk', 'DO $$ BEGIN PERFORM retention.apply(''p''); END $$'),
                           ('run', 'RESET retention.walk', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''p'', result => r); END $$'),
                           ('run over blocks', 'SET retention.walk = blocks', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''p'', result => r, batch_rows => 37); END $$'),
                           ('run over a list', 'SET retention.walk = list', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''p'', result => r, batch_rows => 37); END $$')) who (name, prepare, run)
 ORDER BY shape.name COLLATE "C", act.name COLLATE "C", who.name COLLATE "C" \gexec

-- ---- The types of rows ----

-- Each part is a type of its own: what is said of a whole row must be said of the table's rows, by the table's functions, not by a namesake for a part's type.
CREATE TABLE kind (id int PRIMARY KEY, at timestamptz, note text) PARTITION BY RANGE (id);
CREATE TABLE kind_1 PARTITION OF kind FOR VALUES FROM (0) TO (50);
CREATE TABLE kind_2 PARTITION OF kind FOR VALUES FROM (50) TO (1000);
CREATE TABLE kind_child (k text);
CREATE TABLE kind_item (id int REFERENCES kind);
CREATE TABLE kind_lively (k text, at timestamptz);
CREATE FUNCTION legal(kind) RETURNS boolean LANGUAGE sql AS 'SELECT $1.id % 2 = 0';
CREATE FUNCTION name_of(kind) RETURNS text LANGUAGE sql AS $$ SELECT 'k' || $1.id $$;
CREATE FUNCTION same(anyelement, anyelement) RETURNS boolean LANGUAGE sql AS 'SELECT ($1).id % 2 = 0';
CREATE FUNCTION legal(kind_1) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'not of the table'; END $$;
CREATE FUNCTION name_of(kind_1) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'not of the table'; END $$;
CREATE PROCEDURE fill_kind() LANGUAGE plpgsql AS $$ BEGIN
    PERFORM retention.release_hold(id, 'done') FROM retention.holds WHERE released_at IS NULL;
    PERFORM retention.remove_policy('kind', if_exists => true);
    TRUNCATE kind, kind_child, kind_item, kind_lively;
    INSERT INTO kind SELECT g, '2000-01-01', 'n' FROM generate_series(1, 100) g;
    INSERT INTO kind_child SELECT 'k' || g FROM generate_series(2, 100, 2) g;
    INSERT INTO kind_lively SELECT 'k' || g, '2100-01-01' FROM generate_series(2, 100, 2) g; END $$;
CREATE TABLE said (claim text, add text);
INSERT INTO said VALUES
    ('a hold', $$SELECT retention.add_policy('kind', 'kind', '1 day', 'at'), retention.add_hold('kind', 'policy_parts.legal(target)', 'why')$$),
    ('a hold in a sub-query', $$SELECT retention.add_policy('kind', 'kind', '1 day', 'at'), retention.add_hold('kind', 'EXISTS (SELECT 1 WHERE policy_parts.legal(target))', 'why')$$),
    ('a hold that names the type', $$SELECT retention.add_policy('kind', 'kind', '1 day', 'at'), retention.add_hold('kind', 'policy_parts.same(target, NULL::policy_parts.kind)', 'why')$$),
    ('a condition', $$SELECT retention.add_policy('kind', 'kind', '1 day', 'at', condition => 'NOT policy_parts.legal(target)')$$),
    ('a condition that names the type', $$SELECT retention.add_policy('kind', 'kind', '1 day', 'at', condition => 'NOT policy_parts.same(target, NULL::policy_parts.kind)')$$),
    ('an instant', $$SELECT retention.add_policy('kind', 'kind', '1 day', expiry_expression => 'CASE WHEN NOT policy_parts.legal(target) THEN target.at END')$$),
    ('a dependent that refuses', $$SELECT retention.add_policy('kind', 'kind', '1 day', 'at'), retention.add_dependent('kind', 'kind_child', 'dependent.k = policy_parts.name_of(target)', 'refuse')$$),
    ('an activity', $$WITH item AS (INSERT INTO kind_item SELECT id FROM kind RETURNING 1)
        SELECT retention.add_policy('kind', 'kind_item', '1 day', 'at', subject => 'kind'), retention.add_activity('kind', 'kind_lively', 'at', 'activity.k = policy_parts.name_of(subject)')$$);
SELECT 'CALL fill_kind()', add, who.prepare, who.run, 'RESET retention.walk',
       format('SELECT is((SELECT count(*) || '' '' || count(*) FILTER (WHERE id %% 2 = 0) FROM %s), ''50 50'', %L)', CASE claim WHEN 'an activity' THEN 'kind_item' ELSE 'kind' END, format('G1 G2 %s says it of the table''s rows: %s', claim, who.name))
  FROM said, (VALUES ('apply', 'RESET retention.walk', 'DO $$ BEGIN PERFORM retention.apply(''kind''); END $$'),
                     ('run over blocks', 'SET retention.walk = blocks', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''kind'', result => r, batch_rows => 7); END $$'),
                     ('run over a list', 'SET retention.walk = list', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''kind'', result => r, batch_rows => 7); END $$')) who (name, prepare, run)
 ORDER BY claim COLLATE "C", who.name COLLATE "C" \gexec

-- A cast of a part's type is its owner's code; the role that placed a hold must not run it.
DROP ROLE IF EXISTS regress_parts, regress_parts_leaf;
CREATE ROLE regress_parts;
CREATE ROLE regress_parts_leaf;
GRANT USAGE, CREATE ON SCHEMA policy_parts TO regress_parts, regress_parts_leaf;
ALTER TABLE kind_1 OWNER TO regress_parts_leaf;
CREATE TABLE caught (who name);
GRANT INSERT ON caught TO PUBLIC;
SET ROLE regress_parts_leaf;
CREATE FUNCTION spy(kind_1) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO policy_parts.caught VALUES (current_user); RETURN ''; END $$;
CREATE CAST (kind_1 AS text) WITH FUNCTION spy(kind_1);
RESET ROLE;
CALL fill_kind();
SELECT retention.add_policy('kind', 'kind', '1 day', 'at'), retention.add_hold('kind', 'target::text LIKE ''(7%''', 'why') \gset
SELECT retention.apply('kind') \gset
SELECT is((SELECT string_agg(id::text, ' ' ORDER BY id) FROM kind), '7 70 71 72 73 74 75 76 77 78 79', 'G8 a hold on whole rows keeps what it says of the table''s rows');
SELECT is((SELECT count(*) FROM caught), 0::bigint, 'G8 and runs no code of a part''s owner');

-- ---- What only a statement on the part would meet ----

CREATE SCHEMA policy_parts_closed;
CREATE TABLE shut (id int, at timestamptz, n int DEFAULT 0) PARTITION BY RANGE (id);
CREATE TABLE policy_parts_closed.shut_1 PARTITION OF shut FOR VALUES FROM (0) TO (50);
CREATE TABLE shut_2 PARTITION OF shut FOR VALUES FROM (50) TO (101);
ALTER TABLE shut_2 ENABLE ROW LEVEL SECURITY;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA retention TO regress_parts;
GRANT SELECT, UPDATE, DELETE ON shut, shut_2, policy_parts_closed.shut_1 TO regress_parts;
INSERT INTO shut SELECT g, '2000-01-01' FROM generate_series(1, 100) g;
SET ROLE regress_parts;
SELECT retention.add_policy('shut', 'shut', '1 day', 'at', condition => 'target.n IN (SELECT 0)', action => 'update', set_clause => 'n = 1') \gset
SELECT retention.add_policy('shut_away', 'shut', '1 day', 'at', condition => 'target.n IN (SELECT 1)') \gset
CALL retention.run('shut') \gset
SELECT is((SELECT count(*) FROM shut WHERE n = 1), 100::bigint, 'G8 a part in a schema that is closed to the owner, and one with row security of its own, are updated by the table');
SELECT retention.add_hold('shut', 'target.id % 10 = 0', 'why') AS shut_hold \gset
CALL retention.run('shut_away') \gset
SELECT is((SELECT string_agg(id::text, ' ' ORDER BY id) FROM shut), '10 20 30 40 50 60 70 80 90 100', 'G8 so where their rows are judged again, asked for holds and removed');
SELECT retention.release_hold(:shut_hold, 'done'), retention.remove_policy('shut'), retention.remove_policy('shut_away') \gset
RESET ROLE;
CREATE TABLE numbered (id int, at timestamptz, n int);
CREATE TABLE numbered_heir () INHERITS (numbered);
INSERT INTO numbered_heir SELECT g, '2000-01-01', 0 FROM generate_series(1, 10) g;
SELECT retention.add_policy('numbered', 'numbered', '1 day', 'at', action => 'update', set_clause => 'n = -1') \gset
ALTER TABLE numbered ALTER n SET NOT NULL, ALTER n ADD GENERATED ALWAYS AS IDENTITY;
CALL retention.run('numbered') \gset
SELECT is((SELECT count(*) FROM numbered WHERE n = -1), 0::bigint, 'G1 a column that the table numbers itself is not set by way of an heir');
ALTER TABLE numbered ALTER n DROP IDENTITY;
ALTER TABLE numbered_heir ALTER n ADD GENERATED ALWAYS AS IDENTITY;
CALL retention.run('numbered') \gset
SELECT is((SELECT count(*) FROM numbered WHERE n = -1), 10::bigint, 'and one that only the heir numbers is set by the table');

-- ---- Which rows take turns ----

-- Where parts can be updated by themselves, the rows of a page take turns; it tells from outside which way was taken.
CREATE FUNCTION widen() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    DROP TABLE IF EXISTS wide CASCADE;
    CREATE TABLE wide (id int, at timestamptz, note text DEFAULT 'root', n int DEFAULT 0) PARTITION BY RANGE (id);
    CREATE TABLE wide_1 PARTITION OF wide FOR VALUES FROM (0) TO (2500);
    CREATE TABLE wide_2 PARTITION OF wide FOR VALUES FROM (2500) TO (4000);
    CREATE TABLE wide_none PARTITION OF wide FOR VALUES FROM (4000) TO (5000);
    ALTER TABLE wide_1 ALTER note SET STORAGE PLAIN;
    ALTER TABLE wide_2 ALTER note SET STORAGE PLAIN;
    INSERT INTO wide SELECT g, '2000-01-01', repeat('x', 3000) FROM generate_series(1, 3000) g; END $$;
CREATE PROCEDURE set_wide(clause text) LANGUAGE plpgsql AS $$ BEGIN
    PERFORM retention.remove_policy('wide', if_exists => true);
    PERFORM retention.add_policy('wide', 'wide', '1 day', 'at', condition => 'target.n = 0', action => 'update', set_clause => clause); END $$;
CREATE TABLE turn (id serial, change text, set_clause text, takes boolean, claim text);
INSERT INTO turn (change, set_clause, takes, claim) VALUES
    ('', 'n = n + 1', true, 'a value from the row'),
    ('', 'n = 1, id = id', false, 'a column that the partitions go by'),
    ('ALTER TABLE wide_2 ALTER n SET DEFAULT 7', 'n = 1, note = DEFAULT', false, 'a default'),
    ('', 'n = 1, note = left(target::text, 5)', false, 'the whole row'),
    ('', 'n = (SELECT 1)', false, 'a sub-query'),
    ('CREATE TRIGGER t BEFORE UPDATE ON wide_1 FOR EACH ROW WHEN (false) EXECUTE FUNCTION move()', 'n = 1', false, 'a trigger on one part'),
    ('CREATE RULE r AS ON UPDATE TO wide_1 DO ALSO SELECT 1', 'n = 1', false, 'a rule on one part'),
    ('ALTER TABLE wide DETACH PARTITION wide_2; ALTER TABLE wide_2 ADD more int; ALTER TABLE wide_2 DROP more; ALTER TABLE wide ATTACH PARTITION wide_2 FOR VALUES FROM (2500) TO (4000)', 'n = 1', true, 'a partition with a column less than it had'),
    ('DROP TABLE wide_2; CREATE TABLE wide_2 PARTITION OF wide FOR VALUES FROM (2500) TO (4000) PARTITION BY LIST (n); CREATE TABLE wide_21 PARTITION OF wide_2 DEFAULT; INSERT INTO wide SELECT g, ''2000-01-01'', ''x'' FROM generate_series(2500, 3000) g', 'n = 1', false, 'a column that partitions of a partition go by');
SELECT 'SELECT widen()', change, format('CALL set_wide(%L)', set_clause), 'ANALYZE wide', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''wide'', batch_rows => 700, result => r); END $$',
       format('SELECT %s(last(''reason''), ''the rows of a page are updated in turns'', %L)', CASE WHEN takes THEN 'matches' ELSE 'doesnt_match' END, 'turns: ' || claim),
       format('SELECT is(last(''affected''), (SELECT count(*)::text FROM wide), %L)', 'G9 every row is updated once: ' || claim), format('SELECT is((SELECT count(*) FROM wide WHERE n = 0), 0::bigint, %L)', 'and none is left: ' || claim)
  FROM turn ORDER BY id \gexec

-- ---- Rights ----

SELECT widen() \gset
GRANT SELECT, UPDATE, DELETE ON wide TO regress_parts;
SELECT retention.remove_policy('wide') \gset
SET ROLE regress_parts;
CALL set_wide('n = n + 1');
CALL retention.run('wide') \gset
RESET ROLE;
SELECT doesnt_match(last('reason'), 'in turns', 'turns: who has rights on the table alone goes by the table');
SELECT is((SELECT count(*) FROM wide WHERE n = 1), 3000::bigint, 'G8 and updates every row');
SET ROLE regress_parts;
SELECT retention.remove_policy('wide') \gset
SELECT retention.add_policy('narrow', 'wide', '1 day', 'at', condition => 'target.id IN (SELECT g * 2 FROM generate_series(1, 1500) g)') \gset
CALL retention.run('narrow') \gset
RESET ROLE;
SELECT is((SELECT count(*) || ' ' || min(id) || ' ' || max(id) FROM wide), '1500 1 2999', 'G8 so with rows that are judged again and removed');

-- ---- What hangs on rows in parts, and what they hang on ----

-- Every part has rows at the same places; what belongs to one must not be taken for what belongs to another.
CREATE PROCEDURE gather() LANGUAGE plpgsql AS $$ BEGIN
    PERFORM retention.remove_policy(name) FROM retention.policies WHERE name IN ('people', 'things', 'heirs');
    PERFORM retention.release_hold(id, 'done') FROM retention.holds WHERE released_at IS NULL;
    DROP TABLE IF EXISTS message, thing, person, plain, plain_child CASCADE;
    CREATE TABLE person (id int PRIMARY KEY, at timestamptz) PARTITION BY RANGE (id);
    CREATE TABLE person_1 PARTITION OF person FOR VALUES FROM (0) TO (101);
    CREATE TABLE person_2 (at timestamptz, id int NOT NULL);
    ALTER TABLE person ATTACH PARTITION person_2 FOR VALUES FROM (101) TO (201);
    CREATE TABLE person_3 PARTITION OF person FOR VALUES FROM (201) TO (301);
    CREATE TABLE thing (id int, person_id int REFERENCES person, note text) PARTITION BY RANGE (id);
    CREATE TABLE thing_1 PARTITION OF thing FOR VALUES FROM (0) TO (301);
    CREATE TABLE thing_2 PARTITION OF thing FOR VALUES FROM (301) TO (901);
    CREATE TABLE message (person_id int, at timestamptz);
    -- Old are the odd ones of the first part, the even ones of the second, and every fifth of the third.
    INSERT INTO person SELECT g, CASE WHEN CASE WHEN g <= 100 THEN g % 2 = 1 WHEN g <= 200 THEN g % 2 = 0 ELSE g % 5 = 0 END THEN timestamptz '2000-01-01' ELSE '2100-01-01' END FROM generate_series(1, 300) g;
    INSERT INTO thing SELECT g, 1 + g % 300, 'n' FROM generate_series(1, 900) g;
    INSERT INTO message SELECT id, '2100-01-01' FROM person WHERE id % 3 = 0 AND at < now();
    CREATE TABLE plain (id int PRIMARY KEY, at timestamptz);
    CREATE TABLE plain_heir () INHERITS (plain);
    CREATE TABLE plain_child (plain_id int REFERENCES plain);
    INSERT INTO plain SELECT g, '2100-01-01' FROM generate_series(1, 50) g;
    INSERT INTO plain_heir SELECT g, '2000-01-01' FROM generate_series(1, 50) g;
    INSERT INTO plain_child SELECT g FROM generate_series(1, 50) g; END $$;
CREATE TABLE want (name text, add text, state text, expected text);
INSERT INTO want VALUES
    ('people', $$SELECT retention.add_policy('people', 'person', '1 day', 'at', condition => 'target.id IN (SELECT generate_series(1, 299))', dependents => 'cascade')$$,
        'SELECT (SELECT count(*) FROM person) || '' '' || (SELECT count(*) FROM thing) || '' '' || (SELECT count(*) FROM thing JOIN person ON person.id = person_id)',
        'SELECT count(*) || '' '' || count(*) * 3 || '' '' || count(*) * 3 FROM person WHERE at > now() OR id = 300'),
    ('people that things keep', $$WITH gone AS (DELETE FROM thing WHERE person_id % 2 = 0) SELECT retention.add_policy('people', 'person', '1 day', 'at', condition => 'target.id IN (SELECT generate_series(1, 299))', dependents => 'refuse')$$,
        'SELECT string_agg(id::text, '' '' ORDER BY id) FROM person', 'SELECT string_agg(id::text, '' '' ORDER BY id) FROM person WHERE at > now() OR id % 2 = 1 OR id = 300'),
    ('things of people who write', $$SELECT retention.add_policy('things', 'thing', '1 day', 'at', subject => 'person'), retention.add_activity('things', 'message', 'at', 'activity.person_id = subject.id')$$,
        'SELECT string_agg(id::text, '' '' ORDER BY id) FROM thing', 'SELECT string_agg(t.id::text, '' '' ORDER BY t.id) FROM thing t JOIN person p ON p.id = person_id WHERE at > now() OR p.id % 3 = 0'),
    ('people under a hold', $$SELECT retention.add_policy('people', 'person', '1 day', 'at', dependents => 'cascade'), retention.add_hold('person', 'target::text LIKE ''('' || target.id || '',%'' AND target.id % 3 = 0', 'why')$$,
        'SELECT string_agg(id::text, '' '' ORDER BY id) FROM person', 'SELECT string_agg(id::text, '' '' ORDER BY id) FROM person WHERE at > now() OR id % 3 = 0'),
    ('things of people under a hold', $$SELECT retention.add_policy('things', 'thing', '1 day', 'at', subject => 'person'), retention.add_hold('person', 'target.id % 3 = 0', 'why')$$,
        'SELECT string_agg(id::text, '' '' ORDER BY id) FROM thing', 'SELECT string_agg(t.id::text, '' '' ORDER BY t.id) FROM thing t JOIN person p ON p.id = person_id WHERE at > now() OR p.id % 3 = 0'),
    ('heirs whose namesakes are referred to', $$SELECT retention.add_policy('heirs', 'plain', '1 day', 'at', condition => 'target.id IN (SELECT generate_series(1, 40))', dependents => 'cascade')$$,
        'SELECT (SELECT count(*) FROM ONLY plain) || '' '' || (SELECT count(*) FROM plain_heir) || '' '' || (SELECT count(*) FROM plain_child)', 'SELECT ''50 10 50''');
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE said text;
BEGIN
    EXECUTE query INTO said;
    RETURN said;
END $$;
SELECT 'CALL gather()', add, format('UPDATE by_hand SET state = answer(%L)', expected), who.prepare, replace(who.run, 'policy', split_part(add, '''', 2)), 'RESET retention.walk',
       format('SELECT is(answer(%L), (SELECT state FROM by_hand), %L)', state, format('G1 G3 %s: %s', want.name, who.name))
  FROM want, (VALUES ('apply', 'RESET retention.walk', 'DO $$ BEGIN PERFORM retention.apply(''policy''); END $$'),
                     ('run', 'RESET retention.walk', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''policy'', result => r); END $$'),
                     ('run over blocks', 'SET retention.walk = blocks', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''policy'', result => r, batch_rows => 7); END $$'),
                     ('run over a list', 'SET retention.walk = list', 'DO $$ DECLARE r retention.result; BEGIN CALL retention.run(''policy'', result => r, batch_rows => 7); END $$')) who (name, prepare, run)
 ORDER BY want.name COLLATE "C", who.name COLLATE "C" \gexec

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_parts, policy_parts_closed CASCADE;
DROP EXTENSION pg_retention;
DROP OWNED BY regress_parts, regress_parts_leaf;
DROP ROLE regress_parts, regress_parts_leaf;

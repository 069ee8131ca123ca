-- Dependents: found by foreign key or declared, at any depth, in every shape that refers back; G3 all of them with their victim, or none.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_dependents
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SELECT plan(46);

\i :functions

-- Runs policy p and tells what it did and what is left of each table.
CREATE FUNCTION left_of(VARIADIC relations regclass[]) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(ids(r), ' | ' ORDER BY n) FROM unnest(relations) WITH ORDINALITY u (r, n) $$;

-- ---- Found by foreign key ----

CREATE SCHEMA d1; SET search_path = d1, policy_dependents, public;
CREATE TABLE a (id int PRIMARY KEY, at timestamptz);
CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a);
CREATE TABLE c (id int PRIMARY KEY, b_id int REFERENCES b);
CREATE TABLE d (id int PRIMARY KEY, c_id int REFERENCES c);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE a, b, c, d;
    INSERT INTO a VALUES (1, ago(100)), (2, ago(100)), (3, ago(1)), (4, ago(100));
    INSERT INTO b VALUES (10, 1), (11, 1), (20, 2), (30, 3), (99, NULL);
    INSERT INTO c VALUES (100, 10), (101, 10), (300, 30);
    INSERT INTO d VALUES (1000, 100), (3000, 300); $$;
SELECT fill() \gset
SELECT retention.add_policy('p', 'a', '90 days', 'at') \gset
SELECT is(run('p'), '1 blocked 2', 'dependents refuse, the default: a victim that is referred to is blocked, the others go');
SELECT is(left_of('a', 'b', 'c', 'd'), '1 2 3 | 10 11 20 30 99 | 100 101 300 | 1000 3000', 'and nothing else has changed');
SELECT fill() \gset
SELECT retention.alter_policy('p', dependents => 'cascade') \gset
SELECT is((SELECT jsonb_object_agg(relation, expected_rows) FROM retention.preview('p')), '{"d1.a": 3, "d1.b": 3, "d1.c": 2, "d1.d": 1}', 'cascade: the preview counts every table');
SELECT is(run('p'), '3 {"d1.b": 3, "d1.c": 2, "d1.d": 1}', 'everything that refers to a victim goes, at any depth, and is counted per table');
SELECT is(left_of('a', 'b', 'c', 'd'), '3 | 30 99 | 300 | 3000', 'G2 and nothing that does not');
SELECT results_eq('SELECT relation, affected FROM retention.ledger ORDER BY 1', $$ VALUES ('d1.a', 1::bigint), ('d1.a', 3), ('d1.b', 3), ('d1.c', 2), ('d1.d', 1) $$, 'G4 the ledger has each table');

-- ---- Said per edge ----

SELECT fill() \gset
SELECT retention.add_dependent('p', 'c', action => 'refuse') \gset
SELECT is(run('p') || ': ' || left_of('a', 'b', 'c', 'd'), '2 blocked 1 {"d1.b": 1}: 1 3 | 10 11 30 99 | 100 101 300 | 1000 3000', 'refuse at one edge blocks the whole victim, its other branches included');
SELECT retention.remove_policy('p') \gset
SELECT fill() \gset
SELECT retention.add_policy('p', 'a', '90 days', 'at') \gset
SELECT retention.add_dependent('p', 'b', action => 'set_null') \gset
SELECT is(run('p') || ': ' || left_of('a', 'b', 'c', 'd'), '3 {"d1.b": 3}: 3 | 10 11 20 30 99 | 100 101 300 | 1000 3000', 'set_null: the row stays and refers to nothing');
SELECT is((SELECT array_agg(id ORDER BY id) FROM b WHERE a_id IS NULL), '{10,11,20,99}', 'exactly those');
SELECT retention.remove_policy('p') \gset
SELECT fill() \gset
SELECT retention.add_policy('p', 'a', '90 days', 'at') \gset
SELECT retention.add_dependent('p', 'b', action => 'delete') \gset
SELECT is(run('p') || ': ' || left_of('a', 'b', 'c', 'd'), '2 blocked 1 {"d1.b": 1}: 1 3 | 10 11 30 99 | 100 101 300 | 1000 3000', 'delete at one edge, the policy''s refuse at the next');
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'b', action => 'delete') $$, '42710', 'policy "p" already has the dependent d1.b', 'G11 an edge is said once');
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'c', action => 'keep') $$, '22023', NULL, 'G11 a row cannot be kept while the row that its key needs goes');
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'c', action => 'forget') $$, '22023', NULL, 'G11 what is not an action is an error');
SELECT retention.remove_policy('p') \gset
TRUNCATE a, b, c, d;
ALTER TABLE b ALTER a_id SET NOT NULL;
SELECT retention.add_policy('p', 'a', '90 days', 'at') \gset
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'b', action => 'set_null') $$, '22023', 'column "a_id" of dependent d1.b cannot be set to null', 'G11 set_null on a NOT NULL column is refused');
SELECT retention.remove_policy('p') \gset

-- ---- As the schema has them ----

CREATE SCHEMA d2; SET search_path = d2, policy_dependents, public;
CREATE TABLE a (id int PRIMARY KEY, at timestamptz);
CREATE TABLE casc (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE CASCADE);
CREATE TABLE under (id int PRIMARY KEY, casc_id int REFERENCES casc ON DELETE CASCADE);
CREATE TABLE nulled (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE SET NULL);
CREATE TABLE defaulted (id int PRIMARY KEY, a_id int DEFAULT 9 REFERENCES a ON DELETE SET DEFAULT);
CREATE TABLE restricted (id int PRIMARY KEY, a_id int REFERENCES a ON DELETE RESTRICT);
INSERT INTO a VALUES (1, ago(100)), (2, ago(100)), (3, ago(1)), (9, ago(1));
INSERT INTO casc VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO under VALUES (11, 1), (12, 1), (31, 3);
INSERT INTO nulled VALUES (1, 1), (3, 3);
INSERT INTO defaulted VALUES (1, 1), (3, 3);
INSERT INTO restricted VALUES (2, 2);
SELECT retention.add_policy('p', 'a', '90 days', 'at') \gset
SELECT is(run('p'), '1 blocked 1 {"d2.casc": 1, "d2.under": 2, "d2.nulled": 1, "d2.defaulted": 1}', 'ON DELETE CASCADE, SET NULL and SET DEFAULT are followed and counted; RESTRICT blocks');
SELECT is(left_of('a', 'casc', 'under', 'nulled', 'defaulted', 'restricted'), '2 3 9 | 2 3 | 31 | 1 3 | 1 3 | 2', 'the blocked victim keeps all that is its own');
SELECT is((SELECT array_agg(COALESCE(a_id, 0) ORDER BY id) FROM nulled), '{0,3}', 'SET NULL has set NULL');
SELECT is((SELECT array_agg(a_id ORDER BY id) FROM defaulted), '{9,3}', 'SET DEFAULT the default');
SELECT retention.alter_policy('p', dependents => 'cascade') \gset
SELECT is(run('p') || ': ' || left_of('a', 'restricted'), '1 {"d2.casc": 1, "d2.under": 0, "d2.nulled": 0, "d2.defaulted": 0, "d2.restricted": 1}: 3 9 | none', 'cascade says it of RESTRICT too');
INSERT INTO a VALUES (4, ago(100)), (5, ago(100));
INSERT INTO casc VALUES (4, 4);
SELECT retention.add_dependent('p', 'casc', action => 'refuse') \gset
SELECT is(run('p') || ': ' || left_of('a', 'casc'), '1 blocked 1 {"d2.nulled": 0, "d2.defaulted": 0, "d2.restricted": 0}: 3 4 9 | 3 4', 'refuse may be said of a key that would CASCADE');
SELECT retention.remove_policy('p') \gset
SELECT retention.add_policy('p', 'a', '90 days', 'at') \gset
SELECT retention.add_dependent('p', 'casc', action => 'set_null') \gset
SELECT is(run('p') || ': ' || left_of('a', 'casc'), '1 {"d2.casc": 1, "d2.nulled": 0, "d2.defaulted": 0}: 3 9 | 3 4', 'and so may set_null');
SELECT retention.remove_policy('p') \gset

-- ---- Declared ----

CREATE SCHEMA d3; SET search_path = d3, policy_dependents, public;
CREATE TABLE orders (id int PRIMARY KEY, at timestamptz);
CREATE TABLE lines (id int PRIMARY KEY, order_id int REFERENCES orders);
CREATE TABLE adjustments (id int PRIMARY KEY, adjustable_type text, adjustable_id int);
CREATE TABLE notes (id int PRIMARY KEY, adjustment_id int);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE orders, lines, adjustments, notes;
    INSERT INTO orders VALUES (1, ago(100)), (2, ago(1)), (3, ago(100));
    INSERT INTO lines VALUES (1, 2), (2, 1), (3, 1);
    INSERT INTO adjustments VALUES (1, 'Order', 1), (2, 'Order', 2), (3, 'Line', 1), (4, 'Line', 2), (5, 'Other', 1), (6, 'Order', NULL);
    INSERT INTO notes VALUES (1, 1), (2, 2), (4, 4); $$;
SELECT fill() \gset
SELECT retention.add_policy('p', 'orders', '90 days', 'at', dependents => 'cascade') \gset
SELECT retention.add_dependent('p', 'adjustments', $$ dependent.adjustable_type = 'Order' AND dependent.adjustable_id = target.id $$) \gset
SELECT is(run('p') || ': ' || left_of('orders', 'lines', 'adjustments', 'notes'), '2 {"d3.lines": 2, "d3.adjustments": 1}: 2 | 1 | 2 3 4 5 6 | 1 2 4', 'a polymorphic pair is declared by a join condition');
SELECT fill() \gset
SELECT retention.add_dependent('p', 'adjustments', $$ dependent.adjustable_type = 'Line' AND dependent.adjustable_id = target.id $$, parent => 'lines') \gset
SELECT retention.add_dependent('p', 'notes', 'dependent.adjustment_id = target.id', parent => 'adjustments') \gset
SELECT is(run('p') || ': ' || left_of('orders', 'lines', 'adjustments', 'notes'), '2 {"d3.lines": 2, "d3.notes": 2, "d3.adjustments": 2}: 2 | 1 | 2 3 5 6 | 2', 'parent says what it hangs on, at any depth; one table may hang on two');
SELECT retention.remove_policy('p') \gset
SELECT fill() \gset
SELECT retention.add_policy('p', 'orders', '90 days', 'at') \gset
SELECT retention.add_dependent('p', 'lines') \gset
SELECT retention.add_dependent('p', 'adjustments', $$ dependent.adjustable_type = 'Order' AND dependent.adjustable_id = target.id $$, action => 'refuse') \gset
SELECT is(run('p') || ': ' || left_of('orders', 'lines', 'adjustments'), '1 blocked 1 {"d3.lines": 0}: 1 2 | 1 2 3 | 1 2 3 4 5 6', 'a declared row may refuse');
SELECT retention.remove_policy('p') \gset
SELECT fill() \gset
SELECT retention.add_policy('p', 'orders', '90 days', 'at', dependents => 'cascade') \gset
SELECT retention.add_dependent('p', 'adjustments', $$ dependent.adjustable_type = 'Order' AND dependent.adjustable_id = target.id $$, action => 'keep') \gset
SELECT is(run('p') || ': ' || left_of('orders', 'adjustments'), '2 {"d3.lines": 2}: 2 | 1 2 3 4 5 6', 'or be kept');
SELECT retention.remove_policy('p') \gset
SELECT retention.add_policy('p', 'orders', '90 days', 'at', dependents => 'cascade') \gset
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'adjustments') $$, '42704', NULL, 'G11 a dependent that nothing leads to is an error');
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'adjustments', 'dependent.adjustable_id = target.id', action => 'set_null') $$, '22023', NULL, 'G11 set_null needs a foreign key');
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'adjustments', 'dependent.nothing = target.id') $$, '42703', NULL, 'G11 a join condition is read when it is said');
SELECT throws_ok($$ SELECT retention.add_dependent('p', 'adjustments', 'dependent.adjustable_id = target.id; DELETE FROM orders') $$, '42601', NULL, 'G8 and is one expression');
SELECT is((SELECT dependent_tables FROM retention.policies WHERE name = 'p'), NULL, 'G11 of all this nothing was stored');
SELECT retention.remove_policy('p') \gset

-- ---- What refers to itself, and in circles ----

CREATE SCHEMA d4; SET search_path = d4, policy_dependents, public;
CREATE TABLE comments (id int PRIMARY KEY, parent_id int REFERENCES comments, at timestamptz);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE comments;
    -- 1: an old tree. 2: an old root with a young leaf. 3: a young root with old leaves. 4: its own parent.
    INSERT INTO comments VALUES (1, NULL, ago(100)), (11, 1, ago(100)), (12, 1, ago(99)), (111, 11, ago(98)),
        (2, NULL, ago(100)), (21, 2, ago(100)), (211, 21, ago(1)), (22, 2, ago(100)),
        (3, NULL, ago(1)), (31, 3, ago(100)), (4, 4, ago(100)); $$;
SELECT fill() \gset
SELECT retention.add_policy('p', 'comments', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || ids('comments'), '7 blocked 2: 2 3 21 211', 'a tree that is old altogether goes; a young leaf keeps the way to its root, and nothing more');
SELECT retention.remove_policy('p') \gset
SELECT fill() \gset
SELECT retention.add_policy('p', 'comments', '90 days', 'at', dependents => 'cascade') \gset
SELECT is(run('p') || ': ' || ids('comments'), '9 {"d4.comments": 1}: 3', 'cascade: what answers to a row that goes, goes with it, whatever its age');
SELECT retention.remove_policy('p') \gset
SELECT fill() \gset
SELECT retention.add_policy('p', 'comments', '90 days', 'at', condition => 'target.parent_id IS NULL') \gset
SELECT retention.add_dependent('p', 'comments', action => 'set_null') \gset
SELECT is((retention.apply('p')).affected || ': ' || ids('comments'), '2: 3 4 11 12 21 22 31 111 211', 'set_null: what answered becomes a root');
SELECT is((SELECT array_agg(id ORDER BY id) FROM comments WHERE parent_id IS NULL), '{3,11,12,21,22}', 'exactly those');
SELECT retention.remove_policy('p') \gset

CREATE TABLE ring_a (id int PRIMARY KEY, b int, at timestamptz);
CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a, at timestamptz);
ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b;
CREATE FUNCTION rings() RETURNS void LANGUAGE sql AS $$
    TRUNCATE ring_a, ring_b;
    INSERT INTO ring_a VALUES (1, NULL, ago(100)), (2, NULL, ago(100)), (3, NULL, ago(1)), (4, NULL, ago(1));
    INSERT INTO ring_b VALUES (1, 1, ago(1)), (2, 2, ago(1)), (3, 3, ago(1));
    UPDATE ring_a SET b = 1 WHERE id = 1; UPDATE ring_a SET b = 2 WHERE id IN (2, 4); $$;
SELECT rings() \gset
SELECT retention.add_policy('p', 'ring_a', '90 days', 'at', dependents => 'cascade') \gset
SELECT is(run('p') || ': ' || left_of('ring_a', 'ring_b'), '2 {"d4.ring_a": 1, "d4.ring_b": 2}: 3 | 3', 'cascade through tables that refer to each other ends, rows of the target that are dragged along counted apart');
SELECT retention.remove_policy('p') \gset
SELECT rings() \gset
SELECT retention.add_policy('p', 'ring_a', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || left_of('ring_a', 'ring_b'), '0 blocked 2: 1 2 3 4 | 1 2 3', 'refuse: a circle blocks where its other half does not go');
SELECT retention.add_dependent('p', 'ring_b') \gset
SELECT is(run('p') || ': ' || left_of('ring_a', 'ring_b'), '1 blocked 1 {"d4.ring_b": 1}: 2 3 4 | 2 3', 'where it does, the circle goes unless something else holds it');
SELECT retention.remove_policy('p') \gset

CREATE TABLE invoices (id int PRIMARY KEY, corrects int, at timestamptz);
ALTER TABLE invoices ADD CONSTRAINT corrects FOREIGN KEY (corrects) REFERENCES invoices DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE payments (id int PRIMARY KEY, invoice int REFERENCES invoices DEFERRABLE INITIALLY DEFERRED);
INSERT INTO invoices VALUES (1, 2, ago(100)), (2, 1, ago(100)), (3, NULL, ago(100)), (4, 3, ago(1)), (5, NULL, ago(100));
INSERT INTO payments VALUES (1, 5), (2, 1), (3, 4);
SELECT retention.add_policy('p', 'invoices', '90 days', 'at') \gset
SELECT is(run('p') || ': ' || left_of('invoices', 'payments'), '0 blocked 4: 1 2 3 4 5 | 1 2 3', 'deferrable keys block in time, not at the commit');
SELECT retention.alter_policy('p', dependents => 'cascade') \gset
SELECT is(run('p') || ': ' || left_of('invoices', 'payments'), '4 {"d4.invoices": 1, "d4.payments": 3}: none | none', 'and are followed');
SELECT retention.remove_policy('p') \gset

-- ---- Decided once ----

CREATE SCHEMA d5; SET search_path = d5, policy_dependents, public;
CREATE TABLE carts (id int PRIMARY KEY, at timestamptz);
CREATE TABLE items (id int PRIMARY KEY, cart_id int REFERENCES carts, at timestamptz);
INSERT INTO carts VALUES (1, ago(100)), (2, ago(100)), (3, ago(100));
INSERT INTO items VALUES (1, 1, ago(100)), (2, 2, ago(100)), (3, 2, ago(1));
SELECT retention.add_policy('empty', 'carts', '6 hours', 'at', condition => 'NOT EXISTS (SELECT FROM items i WHERE i.cart_id = target.id)', run_order => 1) \gset
SELECT retention.add_policy('items', 'items', '90 days', 'at', run_order => 2) \gset
SELECT is(run('empty') || ': ' || left_of('carts', 'items'), '1: 1 2 | 1 2 3', 'an empty cart goes');
SELECT is(run('items') || ': ' || left_of('carts', 'items'), '2: 1 2 | 3', 'emptying a cart does not remove it');
SELECT is(run('empty') || ': ' || left_of('carts', 'items'), '1: 2 | 3', 'the next run of the other policy does');
CREATE TABLE chain (id int PRIMARY KEY, next int REFERENCES chain ON DELETE SET NULL, at timestamptz);
INSERT INTO chain VALUES (1, NULL, ago(100)), (2, 1, ago(100)), (3, 2, ago(100));
SELECT retention.add_policy('ends', 'chain', '90 days', 'at', condition => 'target.next IS NULL') \gset
SELECT is(run('ends') || ': ' || ids('chain'), '1 {"d5.chain": 1}: 2 3', 'what is deleted is decided before the first change: a row that became an end by it stays');

-- ---- All or none ----

CREATE SCHEMA d6; SET search_path = d6, policy_dependents, public;
CREATE TABLE a (id int PRIMARY KEY, at timestamptz);
CREATE TABLE b (id int PRIMARY KEY, a_id int REFERENCES a);
INSERT INTO a VALUES (1, ago(100)), (2, ago(100));
INSERT INTO b VALUES (1, 1), (2, 2);
CREATE FUNCTION keep_two() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN OLD.id = 2 THEN NULL ELSE OLD END; END $$;
CREATE TRIGGER keep_two BEFORE DELETE ON b FOR EACH ROW EXECUTE FUNCTION keep_two();
SELECT retention.add_policy('torn', 'a', '90 days', 'at', dependents => 'cascade') \gset
SET client_min_messages = error;
SELECT is((retention.apply('torn')).sqlstate || ': ' || left_of('a', 'b'), '23503: 1 2 | 1 2', 'G3 a trigger that keeps a dependent back is an error, not half a family');
SELECT retention.remove_policy('torn') \gset
ALTER TABLE b DROP CONSTRAINT b_a_id_fkey;
SELECT retention.add_policy('torn', 'a', '90 days', 'at') \gset
SELECT retention.add_dependent('torn', 'b', 'dependent.a_id = target.id') \gset
SELECT is((retention.apply('torn')).sqlstate || ': ' || left_of('a', 'b'), '23001: 1 2 | 1 2', 'G3 and so it is where no foreign key would have told');
DROP TRIGGER keep_two ON b;
SELECT is(run('torn') || ': ' || left_of('a', 'b'), '2 {"d6.b": 2}: none | none', 'without the trigger the families go whole');
SET client_min_messages = warning;

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_dependents, d1, d2, d3, d4, d5, d6 CASCADE;
DROP EXTENSION pg_retention;

-- Whose time: the target's own, an ancestor's over foreign keys, or rows of other tables that prove somebody is alive.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_subject
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SELECT plan(33);

\i :functions

-- ---- Paths ----

CREATE TABLE orgs (id int PRIMARY KEY, seen timestamptz);
CREATE TABLE users (id int PRIMARY KEY, org_id int REFERENCES orgs, seen timestamptz);
CREATE TABLE carts (id int PRIMARY KEY, user_id int REFERENCES users);
CREATE TABLE items (id int PRIMARY KEY, cart_id int REFERENCES carts, seen timestamptz);
INSERT INTO orgs VALUES (1, ago(100)), (2, ago(1)), (3, NULL);
INSERT INTO users VALUES (1, 1, ago(100)), (2, 2, ago(100)), (3, 3, ago(1)), (4, NULL, ago(100));
INSERT INTO carts VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, NULL);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$ TRUNCATE items; INSERT INTO items SELECT id, id, ago(1) FROM carts; INSERT INTO items VALUES (6, NULL, ago(100)); $$;
SELECT fill() \gset
SELECT retention.add_policy('own', 'items', '90 days', 'seen') \gset
SELECT is(run('own') || ': ' || ids('items'), '1: 1 2 3 4 5', 'without a subject the target''s own time counts');
SELECT retention.remove_policy('own') \gset
SELECT fill() \gset
SELECT retention.add_policy('own', 'items', '90 days', 'seen', subject => 'items') \gset
SELECT is(run('own') || ': ' || ids('items'), '1: 1 2 3 4 5', 'and so it does with the target as its own subject');
SELECT retention.remove_policy('own') \gset
SELECT retention.add_policy('one', 'carts', '90 days', 'seen', subject => 'users', dependents => 'cascade') \gset
SELECT is((SELECT array_agg(k ->> 'id') FROM retention.preview('one'), jsonb_array_elements(sample_keys) k WHERE role = 'target'), '{1,2,4}', 'a path of one step: carts of users not seen');
SELECT retention.remove_policy('one') \gset
SELECT fill() \gset
SELECT retention.add_policy('two', 'items', '90 days', 'seen', subject => 'users') \gset
SELECT is(run('two') || ': ' || ids('items'), '3: 3 5 6', 'a path of two steps; a broken one keeps the row');
SELECT is((SELECT count(*) FROM carts) + (SELECT count(*) FROM users), 9::bigint, 'G2 what lies on the path stays');
SELECT fill() \gset
SELECT is((retention.apply('two')).subjects, 3::bigint, 'the subjects are counted');
SELECT retention.remove_policy('two') \gset
SELECT fill() \gset
SELECT retention.add_policy('three', 'items', '90 days', 'seen', subject => 'orgs') \gset
SELECT is(run('three') || ': ' || ids('items'), '1: 2 3 4 5 6', 'a path of three steps; broken in its middle it keeps the row, as an unknown time does');
SELECT retention.alter_policy('three', when_null => 'expire') \gset
SELECT is(run('three') || ': ' || ids('items'), '1: 2 4 5 6', 'when_null expire is about the subject''s time, not about a broken path');
SELECT retention.remove_policy('three') \gset

CREATE TABLE tenants (region text, no int, seen timestamp, PRIMARY KEY (region, no));
CREATE TABLE docs (id int PRIMARY KEY, region text, tenant int, FOREIGN KEY (region, tenant) REFERENCES tenants);
INSERT INTO tenants VALUES ('eu', 1, '2020-01-01'), ('eu', 2, now()), ('us', 1, now()), ('us', 2, '2020-01-01');
INSERT INTO docs VALUES (1, 'eu', 1), (2, 'eu', 2), (3, 'us', 1), (4, 'us', 2), (5, NULL, 1), (6, 'eu', NULL);
SELECT retention.add_policy('composite', 'docs', '90 days', 'seen', subject => 'tenants') \gset
SELECT is(run('composite') || ': ' || ids('docs'), '2: 2 3 5 6', 'a key of two columns; half of it NULL is a broken path');
SELECT retention.remove_policy('composite') \gset

CREATE TABLE people (id int PRIMARY KEY, seen timestamptz);
CREATE TABLE letters (id int PRIMARY KEY, sender int CONSTRAINT letters_sender REFERENCES people, receiver int CONSTRAINT letters_receiver REFERENCES people);
INSERT INTO people VALUES (1, ago(100)), (2, ago(1));
INSERT INTO letters VALUES (12, 1, 2), (21, 2, 1);
\set VERBOSITY default
\echo # the next is an error that lists the paths and tells how to choose
SELECT retention.add_policy('letters', 'letters', '90 days', 'seen', subject => 'people');
\set VERBOSITY terse
SELECT throws_ok($$ SELECT retention.add_policy('letters', 'letters', '90 days', 'seen', subject => 'people') $$, '42P08',
    'more than one path leads from policy_subject.letters to policy_subject.people', 'G11 two paths are an error');
SELECT lives_ok($$ SELECT retention.add_policy('letters', 'letters', '90 days', 'seen', subject => 'people', path => '{letters_sender}') $$, 'path chooses one');
SELECT is(run('letters') || ': ' || ids('letters'), '1: 21', 'which is then the one that counts');
SELECT throws_ok($$ SELECT retention.alter_policy('letters', path => '{letters_sender,letters_receiver}') $$, '42704', NULL, 'a path that leads elsewhere is an error');
SELECT retention.remove_policy('letters') \gset
CREATE TABLE "Über.Nutzer" ("Nr" int PRIMARY KEY, "zuletzt gesehen" timestamptz);
CREATE TABLE "select" (id int PRIMARY KEY, "order" int REFERENCES "Über.Nutzer");
INSERT INTO "Über.Nutzer" VALUES (1, ago(100)), (2, ago(1));
INSERT INTO "select" VALUES (1, 1), (2, 2);
SELECT retention.add_policy('names', '"select"', '90 days', 'zuletzt gesehen', subject => '"Über.Nutzer"') \gset
SELECT is(run('names') || ': ' || ids('"select"'), '1: 2', 'a path over names of every kind');
SELECT retention.remove_policy('names') \gset
SELECT throws_ok($$ SELECT retention.add_policy('none', 'letters', '90 days', 'seen', subject => 'orgs') $$, '42704',
    'no foreign keys lead from policy_subject.letters to policy_subject.orgs', 'G11 no path is an error');
CREATE TABLE ring_a (id int PRIMARY KEY, b int, seen timestamptz);
CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a, seen timestamptz);
ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b;
INSERT INTO ring_a VALUES (1, NULL, ago(1)), (2, NULL, ago(100));
INSERT INTO ring_b VALUES (1, 1, ago(100)), (2, 2, ago(1));
SELECT retention.add_policy('ring', 'ring_b', '90 days', 'seen', subject => 'ring_a') \gset
SELECT is(run('ring') || ': ' || ids('ring_b'), '1: 1', 'tables that refer to each other have one path each way');
SELECT retention.remove_policy('ring') \gset

-- ---- Activities ----

CREATE TABLE members (id int PRIMARY KEY, joined timestamptz NOT NULL DEFAULT ago(500));
CREATE TABLE posts (member_id int, at timestamptz, kind text);
CREATE TABLE logins (member_id int, at bigint);
CREATE TABLE files (id int PRIMARY KEY, member_id int REFERENCES members);
CREATE FUNCTION refill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE posts, logins, files, members;
    INSERT INTO members (id) SELECT generate_series(1, 7);
    INSERT INTO files SELECT id, id FROM members;
    INSERT INTO posts VALUES (1, ago(100), 'text'), (2, ago(1), 'text'), (3, ago(1), 'auto'), (4, NULL, 'text'), (5, ago(100), 'text'), (5, ago(1), 'text');
    INSERT INTO logins VALUES (1, extract(epoch FROM ago(100))), (6, extract(epoch FROM ago(1))); $$;
SELECT refill() \gset
SELECT retention.add_policy('quiet', 'files', '90 days', subject => 'members') \gset
SELECT is((retention.apply('quiet')).sqlstate, '55000', 'a policy that has neither a time nor an activity does not run yet');
SELECT retention.add_activity('quiet', 'posts', 'at', 'activity.member_id = subject.id') \gset
SELECT is(run('quiet') || ': ' || ids('files'), '3: 2 3 4 5', 'no activity since: files of members who posted nothing in 90 days, or nothing at all; a post of unknown time proves life');
SELECT refill() \gset
SELECT retention.add_activity('quiet', 'logins', 'at', 'activity.member_id = subject.id', time_unit => 's') \gset
SELECT is(run('quiet') || ': ' || ids('files'), '2: 2 3 4 5 6', 'two sources: either proves life');
SELECT is((SELECT activities FROM retention.policies WHERE name = 'quiet'), 2::bigint, 'retention.policies counts them');
SELECT retention.remove_policy('quiet') \gset
SELECT refill() \gset
SELECT retention.add_policy('quiet', 'files', '90 days', subject => 'members') \gset
SELECT retention.add_activity('quiet', 'posts', 'at', 'activity.member_id = subject.id', condition => $$ activity.kind <> 'auto' $$) \gset
SELECT is(run('quiet') || ': ' || ids('files'), '4: 2 4 5', 'a condition says which rows prove anything');
SELECT retention.remove_policy('quiet') \gset
SELECT refill() \gset
SELECT retention.add_policy('quiet', 'members', '90 days', 'joined', dependents => 'cascade') \gset
SELECT retention.add_activity('quiet', 'posts', 'at', 'activity.member_id = subject.id') \gset
UPDATE members SET joined = ago(5) WHERE id = 7;
SELECT is(run('quiet') || ': ' || ids('members'), '2 {"policy_subject.files": 2}: 2 3 4 5 7', 'a time and an activity: the subject must be old and silent');
SELECT is(ids('files'), '2 3 4 5 7', 'G3 and what belongs to it goes with it');
SELECT retention.remove_policy('quiet') \gset
SELECT refill() \gset
SELECT retention.add_policy('quiet', 'files', '90 days', subject => 'members') \gset
SELECT retention.add_activity('quiet', 'posts', 'at', 'activity.member_id = subject.id AND EXISTS (SELECT FROM policy_subject.logins l WHERE l.member_id = subject.id)') \gset
SELECT is(run('quiet') || ': ' || ids('files'), '7: none', 'a join condition may hold sub-queries');
SELECT retention.remove_policy('quiet') \gset
SELECT refill() \gset
SELECT retention.add_policy('quiet', 'files', '90 days', subject => 'members', condition => 'subject.id > 1') \gset
SELECT retention.add_activity('quiet', 'posts', 'at', 'activity.member_id = subject.id') \gset
INSERT INTO posts VALUES (7, '-infinity', 'text'), (6, 'infinity', 'text');
SELECT is(run('quiet') || ': ' || ids('files'), '1: 1 2 3 4 5 6', 'an activity at infinity proves life for ever, one at -infinity never');
SELECT retention.remove_policy('quiet') \gset
SELECT throws_ok($$ SELECT retention.add_activity('quiet', 'posts', 'at', 'true') $$, '42704', NULL, 'G11 an activity needs a policy');
SELECT retention.add_policy('quiet', 'files', '90 days', subject => 'members') \gset
SELECT throws_ok($$ SELECT retention.add_activity('quiet', 'posts', 'when', 'true') $$, '42703', NULL, 'G11 and its time column');
SELECT throws_ok($$ SELECT retention.add_activity('quiet', 'posts', 'kind', 'true') $$, '42804', NULL, 'G11 which holds a time');
SELECT throws_ok($$ SELECT retention.add_activity('quiet', 'logins', 'at', 'true') $$, '22023', NULL, 'G11 in a unit that is known');
SELECT throws_ok($$ SELECT retention.add_activity('quiet', 'posts', 'at', 'activity.nobody = subject.id') $$, '42703', NULL, 'G11 and a join condition that can be read');
SELECT throws_ok($$ SELECT retention.add_activity('quiet', 'posts', 'at', 'true); DROP TABLE files; SELECT (true') $$, '42601', NULL, 'G8 and that is one expression');
SELECT throws_ok($$ SELECT retention.add_activity('quiet', NULL, 'at', 'true') $$, '22004', NULL, 'G11 a relation must be given');
SELECT is((SELECT activities FROM retention.policies WHERE name = 'quiet'), 0::bigint, 'G11 of all this nothing was stored');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_subject CASCADE;
DROP EXTENSION pg_retention;

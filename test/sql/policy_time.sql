-- Time: every kind of column that can say when a row was last needed, and how it is compared.
\set ECHO none
\getenv test PG_ABS_SRCDIR
\set schema policy_time
\set begin :test '/begin.psql'
\i :begin
SET timezone = 'UTC';
SELECT plan(67);

-- Makes a table of rows named by `what`, a policy p on it with the given options, looks, runs it by each hand, and returns the rows
-- left. What the preview announces must be what goes (G9), and both hands must leave the same.
CREATE FUNCTION kept(columns text, rows text, options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    direct text;
    seen bigint;
    did retention.result;
    survivors text[];
BEGIN
    FOREACH direct IN ARRAY '{on,off}'::text[] LOOP
        PERFORM set_config('retention.direct', direct, false);
        EXECUTE format('CREATE TABLE thing (what text PRIMARY KEY, %s)', columns);
        EXECUTE format('INSERT INTO thing %s', rows);
        EXECUTE format('SELECT retention.add_policy(''p'', ''thing'', %s)', options);
        SELECT expected_rows INTO seen FROM retention.preview('p') WHERE role = 'target';
        did := retention.apply('p');
        IF NOT did.success THEN RAISE '% (%)', did.message, did.sqlstate; END IF;
        IF did.affected <> seen THEN RAISE 'preview % but affected %', seen, did.affected; END IF;
        survivors := survivors || COALESCE((SELECT string_agg(what, ' ' ORDER BY what COLLATE "C") FROM thing), 'none');
        PERFORM retention.remove_policy('p');
        DROP TABLE thing;
    END LOOP;
    RESET retention.direct;
    IF survivors[1] <> survivors[2] THEN RAISE 'the hands differ: %', survivors; END IF;
    RETURN survivors[1];
END $$;

-- ---- Kinds of time ----

SELECT is(kept('at timestamptz', $$ VALUES ('old', now() - interval '91 days'), ('young', now() - interval '89 days') $$, $$ '90 days', 'at' $$),
          'young', 'a timestamptz is an instant');
SET timezone = 'Asia/Karachi';
SELECT is(kept('at timestamp', $$ VALUES ('old', timezone('UTC', now()) - interval '61 minutes'), ('young', timezone('UTC', now()) - interval '59 minutes') $$, $$ '1 hour', 'at' $$),
          'young', 'a timestamp is read as UTC unless something else is said, whatever the session''s TimeZone');
SELECT is(kept('at timestamp', $$ VALUES ('old', timezone('America/Bogota', now()) - interval '61 minutes'), ('young', timezone('America/Bogota', now()) - interval '59 minutes') $$,
               $$ '1 hour', 'at', time_zone => 'America/Bogota' $$),
          'young', 'a timestamp is read in the policy''s time_zone');
SET retention.naive_time_zone = 'Asia/Tokyo';
SELECT is(kept('at timestamp', $$ VALUES ('old', timezone('Asia/Tokyo', now()) - interval '61 minutes'), ('young', timezone('Asia/Tokyo', now()) - interval '59 minutes') $$, $$ '1 hour', 'at' $$),
          'young', 'and in retention.naive_time_zone where the policy has none');
RESET retention.naive_time_zone;
SET timezone = 'UTC';
SELECT is(kept('at date', $$ VALUES ('old', timezone('UTC', now())::date - 31), ('edge', timezone('UTC', now())::date - 30), ('young', timezone('UTC', now())::date) $$, $$ '30 days', 'at' $$),
          'edge young', 'a date expires when its day lies wholly before the cutoff''s day');
SELECT is(kept('at date', $$ VALUES ('old', timezone('Pacific/Kiritimati', now())::date - 31), ('edge', timezone('Pacific/Kiritimati', now())::date - 30) $$, $$ '30 days', 'at', time_zone => 'Pacific/Kiritimati' $$),
          'edge', 'a date''s day is that of the policy''s zone');
SELECT is(kept('at int', $$ VALUES ('old', extract(epoch FROM now() - interval '91 days')::int), ('young', extract(epoch FROM now() - interval '89 days')::int) $$, $$ '90 days', 'at', time_unit => 's' $$),
          'young', 'an integer counts seconds since 1970');
SELECT is(kept('at bigint', $$ VALUES ('old', extract(epoch FROM now() - interval '91 days')::bigint), ('young', extract(epoch FROM now() - interval '89 days')::bigint) $$, $$ '90 days', 'at', time_unit => 's' $$),
          'young', 'a bigint counts seconds');
SELECT is(kept('at bigint', $$ VALUES ('old', (extract(epoch FROM now() - interval '91 days') * 1000)::bigint), ('young', (extract(epoch FROM now() - interval '89 days') * 1000)::bigint) $$, $$ '90 days', 'at', time_unit => 'ms' $$),
          'young', 'a bigint counts milliseconds');
SELECT is(kept('at bigint', $$ VALUES ('old', (extract(epoch FROM now() - interval '91 days') * 1000000)::bigint), ('young', (extract(epoch FROM now() - interval '89 days') * 1000000)::bigint) $$, $$ '90 days', 'at', time_unit => 'us' $$),
          'young', 'a bigint counts microseconds');
SELECT is(kept('at bigint', $$ VALUES ('last', 9223372036854775807), ('old', (extract(epoch FROM now() - interval '91 days') * 1000)::bigint) $$, $$ '90 days', 'at', time_unit => 'ms' $$),
          'last', 'the largest bigint is only far away');
SELECT is(kept('at bigint', $$ VALUES ('before the calendar', (-9223372036854775808)::bigint), ('young', (extract(epoch FROM now()) * 1000)::bigint) $$, $$ '90 days', 'at', time_unit => 'ms' $$),
          'young', 'the smallest bigint is only long ago');
CREATE FUNCTION uuid7(at timestamptz, tail text DEFAULT '7abc-8def-0123456789ab') RETURNS uuid LANGUAGE sql AS
    $$ SELECT (substr(h, 1, 8) || '-' || substr(h, 9) || '-' || tail)::uuid FROM lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') h $$;
SELECT is(kept('at uuid', $$ VALUES ('old', uuid7(now() - interval '91 days')), ('young', uuid7(now() - interval '89 days')) $$, $$ '90 days', 'at' $$),
          'young', 'a uuid of version 7 begins with its instant');
SELECT is(kept('at uuid', $$ VALUES ('random', uuid7(now() - interval '91 days', '4abc-8def-0123456789ab')), ('nil', '00000000-0000-0000-0000-000000000000'), ('max', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), ('old', uuid7(now() - interval '91 days')) $$, $$ '90 days', 'at' $$),
          'max nil random', 'a uuid of another version has no time and is kept');
SELECT is(kept('at timestamptz', $$ VALUES ('over', now() - interval '1 minute'), ('valid', now() + interval '1 minute') $$, $$ '0', 'at' $$),
          'valid', 'expire_after 0: the column holds the instant of expiry');
SELECT is(kept('at timestamptz', $$ VALUES ('over', now() - interval '1 minute'), ('valid', now() + interval '1 minute') $$, $$ expire_after => '00:00:00', time_column => 'at' $$),
          'valid', 'and so does a zero written otherwise');
CREATE DOMAIN moment AS timestamp CHECK (VALUE > '1990-01-01');
CREATE DOMAIN birth AS moment NOT NULL;
CREATE DOMAIN epoch AS bigint CHECK (VALUE > 0);
CREATE DOMAIN ident AS uuid;
SELECT is(kept('at moment', $$ VALUES ('old', timezone('UTC', now()) - interval '91 days'), ('young', timezone('UTC', now())) $$, $$ '90 days', 'at' $$),
          'young', 'a domain over timestamp is a timestamp');
SELECT is(kept('at birth', $$ VALUES ('old', timezone('UTC', now()) - interval '91 days'), ('young', timezone('UTC', now())) $$, $$ '90 days', 'at' $$),
          'young', 'a domain over a domain is what is at its base');
SELECT is(kept('at epoch', $$ VALUES ('old', extract(epoch FROM now() - interval '91 days')::bigint), ('young', extract(epoch FROM now())::bigint) $$, $$ '90 days', 'at', time_unit => 's' $$),
          'young', 'a domain over bigint counts');
SELECT is(kept('at ident', $$ VALUES ('old', uuid7(now() - interval '91 days')), ('young', uuid7(now())) $$, $$ '90 days', 'at' $$),
          'young', 'a domain over uuid is a uuid');
SELECT is(kept('made timestamp, at timestamp GENERATED ALWAYS AS (made + interval ''7 days'') STORED',
               $$ VALUES ('over', timezone('UTC', now()) - interval '8 days'), ('valid', timezone('UTC', now()) - interval '6 days') $$, $$ '0', 'at' $$),
          'valid', 'a generated column is a column');
SELECT is(kept('at timestamp(3)', $$ VALUES ('old', timezone('UTC', now()) - interval '91 days'), ('young', timezone('UTC', now())) $$, $$ '90 days', 'at' $$),
          'young', 'a precision changes nothing');
SELECT is(kept('"Last ""seen"", at" timestamptz', $$ VALUES ('old', now() - interval '91 days'), ('young', now()) $$, $$ '90 days', 'Last "seen", at' $$),
          'young', 'a column''s name is taken as it is');

-- ---- Two columns ----

CREATE FUNCTION two() RETURNS text LANGUAGE sql AS $$ SELECT $r$ VALUES
    ('both', now() - interval '91 days', now() - interval '91 days'), ('first', now() - interval '91 days', now()),
    ('second', now(), now() - interval '91 days'), ('neither', now(), now()), ('unknown', now() - interval '91 days', NULL) $r$ $$;
SELECT is(kept('seen timestamptz, paid timestamptz', two(), $$ '90 days', time_columns => '{seen,paid}' $$),
          'first neither second unknown', 'of two columns both must be expired');
SELECT is(kept('seen timestamptz, paid timestamptz', two(), $$ '90 days', time_columns => '{seen,paid}', time_match => 'all' $$),
          'first neither second unknown', 'which is what time_match all says');
SELECT is(kept('seen timestamptz, paid timestamptz', two(), $$ '90 days', time_columns => '{seen,paid}', time_match => 'any' $$),
          'neither', 'time_match any: one suffices, and what is unknown in the other does not save the row');
SELECT is(kept('seen timestamptz, paid timestamptz', two(), $$ '90 days', time_columns => '{seen,paid}', when_null => 'expire' $$),
          'first neither second', 'when_null expire: an unknown time counts as expired in either');
SELECT is(kept('seen timestamptz, day date', $$ VALUES ('old', now() - interval '91 days', current_date - 92), ('half', now() - interval '91 days', current_date) $$, $$ '90 days', time_columns => '{seen,day}' $$),
          'half', 'the two may be of different kinds');

-- ---- Never, infinity, NULL ----

SELECT is(kept('at timestamptz', $$ VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), ('old', '2000-01-01') $$, $$ '90 days', 'at' $$),
          '-infinity infinity', 'infinity is never, in either direction, of a timestamptz');
SELECT is(kept('at timestamp', $$ VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), ('old', '2000-01-01') $$, $$ '90 days', 'at' $$),
          '-infinity infinity', 'of a timestamp');
SELECT is(kept('at date', $$ VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), ('old', '2000-01-01') $$, $$ '90 days', 'at' $$),
          '-infinity infinity', 'and of a date');
SELECT is(kept('at int', $$ VALUES ('zero', 0), ('minus one', -1), ('largest', 2147483647), ('old', 86400) $$, $$ '90 days', 'at', time_unit => 's', never => '{0,-1,2147483647}' $$),
          'largest minus one zero', 'never: 0, -1 and the largest integer can be agreed to mean it');
SELECT is(kept('at int', $$ VALUES ('zero', 0), ('minus one', -1), ('young', extract(epoch FROM now())::int) $$, $$ '90 days', 'at', time_unit => 's' $$),
          'young', 'where nothing is agreed they are long ago');
SELECT is(kept('at bigint', $$ VALUES ('largest', 9223372036854775807), ('zero', 0), ('old', 86400) $$, $$ '90 days', 'at', time_unit => 's', never => '{0,9223372036854775807}' $$),
          'largest zero', 'never of a bigint');
SELECT is(kept('at timestamptz', $$ VALUES ('epoch', '1970-01-01 00:00+00'), ('old', '1970-01-02 00:00+00') $$, $$ '90 days', 'at', never => ARRAY['1970-01-01 00:00+00'] $$),
          'epoch', 'never of a timestamptz');
SELECT is(kept('at date', $$ VALUES ('none', '0001-01-01'), ('old', '1970-01-02') $$, $$ '90 days', 'at', never => '{0001-01-01}' $$),
          'none', 'never of a date');
SELECT is(kept('at timestamptz', $$ VALUES ('unknown', NULL), ('old', '2000-01-01') $$, $$ '90 days', 'at' $$),
          'unknown', 'NULL keeps the row');
SELECT is(kept('at timestamptz', $$ VALUES ('unknown', NULL), ('old', '2000-01-01') $$, $$ '90 days', 'at', when_null => 'keep' $$),
          'unknown', 'when_null keep says the same');
SELECT is(kept('at timestamptz', $$ VALUES ('unknown', NULL), ('young', now()) $$, $$ '90 days', 'at', when_null => 'expire' $$),
          'young', 'when_null expire: it goes');
SELECT is(kept('at int', $$ VALUES ('unknown', NULL), ('zero', 0) $$, $$ '90 days', 'at', time_unit => 's', never => '{0}', when_null => 'expire' $$),
          'zero', 'never wins over when_null expire for its own values only');

-- ---- expiry_expression ----

SELECT is(kept('made timestamptz, ttl interval', $$ VALUES ('over', now() - interval '2 hours', '1 hour'), ('valid', now() - interval '2 hours', '3 hours'), ('for ever', '2000-01-01', NULL) $$,
               $$ expiry_expression => 'target.made + target.ttl' $$),
          'for ever valid', 'an own life per row: made + ttl; NULL is never');
SELECT is(kept('made timestamp, ttl interval', $$ VALUES ('over', timezone('America/Bogota', now()) - interval '2 hours', '1 hour'), ('valid', timezone('America/Bogota', now()) - interval '2 hours', '3 hours') $$,
               $$ expiry_expression => 'target.made + target.ttl', time_zone => 'America/Bogota' $$),
          'valid', 'an expression that gives a timestamp is read in the policy''s zone');
SELECT is(kept('day date, days int', $$ VALUES ('over', timezone('UTC', now())::date - 10, 9), ('valid', timezone('UTC', now())::date - 10, 11) $$,
               $$ expiry_expression => 'target.day + target.days' $$),
          'valid', 'an expression may give a date');
SELECT is(kept('seconds int, made timestamptz', $$ VALUES ('over', 60, now() - interval '2 minutes'), ('valid', 600, now() - interval '2 minutes') $$,
               $$ expiry_expression => 'target.made + make_interval(secs => subject.seconds)' $$),
          'valid', 'it sees target and subject, and calls functions');
SELECT is(kept('made timestamptz, ttl interval', $$ VALUES ('over', now() - interval '2 hours', '1 hour'), ('in grace', now() - interval '70 minutes', '1 hour') $$,
               $$ '30 minutes', expiry_expression => 'target.made + target.ttl' $$),
          'in grace', 'expire_after is a grace on top of it');
SELECT is(kept('made timestamptz', $$ VALUES ('infinity', 'infinity'), ('-infinity', '-infinity'), ('old', '2000-01-01') $$, $$ expiry_expression => 'target.made' $$),
          '-infinity infinity', 'infinity is never, whatever it came from');
CREATE TABLE rules (tenant int, kind text, keep interval);
INSERT INTO rules VALUES (NULL, NULL, '90 days'), (1, NULL, '30 days'), (1, 'mail', '7 days'), (2, NULL, NULL), (NULL, 'log', '1 day');
SELECT is(kept('tenant int, kind text, made timestamptz',
    $$ VALUES ('1 mail 8', 1, 'mail', now() - interval '8 days'), ('1 mail 6', 1, 'mail', now() - interval '6 days'),
              ('1 note 31', 1, 'note', now() - interval '31 days'), ('1 note 29', 1, 'note', now() - interval '29 days'),
              ('2 note 999', 2, 'note', now() - interval '999 days'),
              ('3 note 91', 3, 'note', now() - interval '91 days'), ('3 note 89', 3, 'note', now() - interval '89 days'),
              ('3 log 2', 3, 'log', now() - interval '2 days'), ('1 log 2', 1, 'log', now() - interval '2 days') $$,
    $$ expiry_expression => 'target.made + (SELECT keep FROM policy_time.rules r WHERE (r.tenant = target.tenant OR r.tenant IS NULL) AND (r.kind = target.kind OR r.kind IS NULL)
                                      ORDER BY r.tenant IS NULL, r.kind IS NULL LIMIT 1)' $$),
          '1 log 2 1 mail 6 1 note 29 2 note 999 3 note 89', 'a period looked up per tenant and kind: the most specific wins, a NULL period is for ever');

-- ---- The cutoff ----

BEGIN;
CREATE TABLE edge (id int, at timestamptz);
INSERT INTO edge VALUES (1, now() - interval '90 days'), (2, now() - interval '90 days' - interval '1 microsecond');
SELECT retention.add_policy('edge', 'edge', '90 days', 'at') \gset
SELECT is((retention.apply('edge')).affected, 1::bigint, 'older than the cutoff is strictly older');
SELECT is((SELECT array_agg(id) FROM edge), '{1}', 'a row of exactly that age stays');
ROLLBACK;
BEGIN;
CREATE TABLE edge (id int, at uuid);
INSERT INTO edge VALUES (1, uuid7(now() - interval '90 days')), (2, uuid7(now() - interval '90 days' - interval '1 millisecond'));
SELECT retention.add_policy('edge', 'edge', '90 days', 'at') \gset
SELECT is((SELECT array_agg(id) FROM edge, retention.apply('edge') WHERE id = 1), '{1}', 'a uuid of the cutoff''s own millisecond stays');
ROLLBACK;
BEGIN;
CREATE TABLE edge (id int, at bigint);
INSERT INTO edge VALUES (1, floor(extract(epoch FROM now() - interval '90 days'))), (2, floor(extract(epoch FROM now() - interval '90 days')) - 1);
SELECT retention.add_policy('edge', 'edge', '90 days', 'at', time_unit => 's') \gset
SELECT retention.apply('edge') \gset
SELECT is((SELECT array_agg(id) FROM edge), '{1}', 'a whole second in which the cutoff lies stays');
ROLLBACK;
CREATE TABLE month (id int, at timestamptz);
CREATE FUNCTION seen_at(policy text, as_of timestamptz) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN (SELECT expected_rows FROM retention.preview(policy, as_of => seen_at.as_of) WHERE role = 'target'); END $$;
SELECT retention.add_policy('month', 'month', '1 month', 'at', time_zone => 'Europe/Berlin') \gset
-- 30 March 2025 03:00 in Berlin is summer time (01:00 UTC); a month before, 28 February 03:00, was winter time (02:00 UTC).
INSERT INTO month VALUES (1, '2025-02-28 01:59:00+00'), (2, '2025-02-28 02:01:00+00');
SELECT is(seen_at('month', '2025-03-30 03:00:00 Europe/Berlin'), '1', 'a month before 30 March 03:00 is 28 February 03:00 by the calendar of the policy''s zone, across the change to summer time');
SELECT retention.alter_policy('month', time_zone => 'UTC') \gset
SELECT is(seen_at('month', '2025-03-30 03:00:00 Europe/Berlin'), '0', 'in UTC it is 28 February 01:00');
SELECT retention.alter_policy('month', expire_after => '1 day', time_zone => 'Europe/Berlin') \gset
TRUNCATE month;
INSERT INTO month VALUES (1, '2025-03-29 12:00:00+01'), (2, '2025-03-29 11:59:00+01');
SELECT is(seen_at('month', '2025-03-30 12:00:00+02'), '1', 'a day is a day of the policy''s calendar, of 23 hours where that is so');
SET timezone = 'America/New_York';
SELECT is(seen_at('month', '2025-03-30 12:00:00+02'), '1', 'the session''s TimeZone has no part in it');
SET timezone = 'UTC';

-- ---- The index ----

-- What explain says of choosing the victims: the indexes, or why not.
CREATE FUNCTION chosen_by(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    indexes text;
BEGIN
    EXECUTE format('SELECT retention.add_policy(''p'', ''big'', %s)', options);
    SELECT array_to_string(e.indexes, ' ') INTO indexes FROM retention.explain('p') e WHERE what = 'choose';
    PERFORM retention.remove_policy('p');
    RETURN indexes;
END $$;
CREATE TABLE big (id int PRIMARY KEY, tz timestamptz, ts timestamp, day date, sec int, ms bigint, v7 uuid, dom moment, gen timestamp GENERATED ALWAYS AS (ts + interval '1 day') STORED);
INSERT INTO big (id, tz, ts, day, sec, ms, v7, dom)
    SELECT n, at, timezone('UTC', at), at::date, extract(epoch FROM at), extract(epoch FROM at) * 1000, uuid7(at), timezone('UTC', at)
      FROM generate_series(1, 20000) n, LATERAL (SELECT now() - n * interval '1 hour') x (at);
CREATE INDEX by_tz ON big (tz);
CREATE INDEX by_ts ON big (ts);
CREATE INDEX by_day ON big (day);
CREATE INDEX by_sec ON big (sec);
CREATE INDEX by_ms ON big (ms);
CREATE INDEX by_v7 ON big (v7);
CREATE INDEX by_dom ON big (dom);
CREATE INDEX by_gen ON big (gen);
ANALYZE big;
SELECT is(chosen_by($$ '800 days', 'tz' $$), 'by_tz', 'the comparison leaves the column bare: the index of a timestamptz serves');
SELECT is(chosen_by($$ '800 days', 'ts' $$), 'by_ts', 'of a timestamp');
SELECT is(chosen_by($$ '800 days', 'ts', time_zone => 'Europe/Berlin' $$), 'by_ts', 'of a timestamp in another zone');
SELECT is(chosen_by($$ '800 days', 'day' $$), 'by_day', 'of a date');
SELECT is(chosen_by($$ '800 days', 'sec', time_unit => 's', never => '{0,-1}' $$), 'by_sec', 'of an integer, values that mean never included');
SELECT is(chosen_by($$ '800 days', 'ms', time_unit => 'ms' $$), 'by_ms', 'of a bigint');
SELECT is(chosen_by($$ '800 days', 'v7' $$), 'by_v7', 'of a uuid');
SELECT is(chosen_by($$ '800 days', 'dom' $$), 'by_dom', 'of a domain');
SELECT is(chosen_by($$ '800 days', 'gen' $$), 'by_gen', 'of a generated column');
SELECT is(chosen_by($$ '800 days', 'tz', when_null => 'expire' $$), 'by_tz', 'and with when_null expire');
SELECT is(chosen_by($$ '800 days', time_columns => '{tz,ts}', time_match => 'any' $$), 'by_ts by_tz', 'either of two columns by its own');
SELECT retention.add_policy('p', 'big', '800 days', 'ts') \gset
SELECT statement AS chosen FROM retention.explain('p') WHERE what = 'choose' \gset
PREPARE chosen (timestamptz) AS :chosen;
CREATE FUNCTION plan_of(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || statement; END $$;
SELECT ok((SELECT bool_or(line ~ 'Index Cond: \(\(ts < ') FROM plan_of($$ EXECUTE chosen (now() - interval '800 days') $$) line), 'EXPLAIN of the statement that retention.explain gives has the bare column in its index condition');

SELECT * FROM finish();
SET client_min_messages = error;
DROP SCHEMA policy_time CASCADE;
DROP EXTENSION pg_retention;

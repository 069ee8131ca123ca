\echo Use "ALTER EXTENSION pg_retention UPDATE TO '0.2.0'" to load this file. \quit

-- From 0.1.0: committed batches by walks and slices, and what they tell of themselves.

ALTER TABLE retention.run ADD COLUMN slice int, ADD COLUMN slices int, ADD COLUMN hand text, ADD COLUMN walk text,
    ADD COLUMN reason text, ADD COLUMN expected bigint, ADD COLUMN share double precision, ADD COLUMN pid int,
    ADD COLUMN approval bigint, ADD COLUMN asked text, ADD COLUMN skipped_failed bigint NOT NULL DEFAULT 0;
CREATE INDEX ON retention.run (approval) WHERE approval IS NOT NULL;
CREATE INDEX ON retention.run (pid, id) WHERE stop_reason = 'interrupted';

ALTER TABLE retention.policy ADD COLUMN record_keys boolean, ADD COLUMN max_deviation double precision;

ALTER TABLE retention.batch ADD COLUMN bytes bigint, ADD COLUMN subjects bigint, ADD COLUMN duration interval, ADD COLUMN wal_position pg_lsn;

-- @from 10_store.sql COMMENT ON COLUMN retention.batch.bytes

ALTER TYPE retention.result ADD ATTRIBUTE skipped_failed bigint;

-- @whole 12_failures.sql

-- @whole 14_fuse.sql

-- @from 20_engine.sql CREATE VIEW retention.policies

-- @from 20_engine.sql CREATE VIEW retention.runs

-- @from 20_engine.sql CREATE VIEW retention.ledger

-- @from 20_engine.sql CREATE VIEW retention.progress

-- @from 20_engine.sql CREATE VIEW retention.status

-- @whole 24_history.sql

REVOKE ALL ON retention.progress FROM PUBLIC;

DROP PROCEDURE retention.run(text, bigint, interval, bigint, retention.result);

-- @from 20_engine.sql CREATE PROCEDURE retention.run(

REVOKE ALL ON PROCEDURE retention.run(text, bigint, interval, bigint, boolean, int, int, bigint, interval, retention.result) FROM PUBLIC;

DROP FUNCTION retention.preview(text, timestamptz, int);

-- @from 20_engine.sql CREATE FUNCTION retention.preview(

REVOKE ALL ON FUNCTION retention.preview(text, timestamptz, int) FROM PUBLIC;

-- @from 20_engine.sql COMMENT ON FUNCTION retention.apply(text)

-- @from 20_engine.sql COMMENT ON PROCEDURE retention.run_all(jsonb)

-- @whole 22_holds.sql

-- @whole 28_undo.sql

DROP FUNCTION retention.add_policy(text, regclass, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, boolean, boolean);

-- @from 20_engine.sql CREATE FUNCTION retention.add_policy(

DROP FUNCTION retention.alter_policy(text, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, regclass, text[]);

-- @from 20_engine.sql CREATE FUNCTION retention.alter_policy(

REVOKE ALL ON FUNCTION retention.add_policy(text, regclass, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, boolean, boolean, boolean, double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION retention.alter_policy(text, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, regclass, text[], boolean, double precision) FROM PUBLIC;

-- @from 20_engine.sql COMMENT ON FUNCTION retention.run_list()

-- @from 20_engine.sql COMMENT ON FUNCTION retention.adopt_preset(

-- @from 30_application.sql CREATE FUNCTION @extschema@.get_inactive_carts_preview()

-- @from 30_application.sql CREATE FUNCTION @extschema@.get_old_cart_items_preview()

-- @from 30_application.sql CREATE FUNCTION @extschema@.get_inactive_sessions_preview()

-- @from 30_application.sql CREATE FUNCTION @extschema@.get_expired_bookings_preview()

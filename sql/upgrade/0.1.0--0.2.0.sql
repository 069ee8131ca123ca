\echo Use "ALTER EXTENSION pg_retention UPDATE TO '0.2.0'" to load this file. \quit

-- From 0.1.0: committed batches by walks and slices, and what they tell of themselves.

ALTER TABLE retention.run ADD COLUMN slice int, ADD COLUMN slices int, ADD COLUMN hand text, ADD COLUMN walk text,
    ADD COLUMN reason text, ADD COLUMN expected bigint, ADD COLUMN share double precision, ADD COLUMN pid int,
    ADD COLUMN skipped_failed bigint NOT NULL DEFAULT 0;

ALTER TYPE retention.result ADD ATTRIBUTE skipped_failed bigint;

-- @whole 12_failures.sql

-- @from 20_engine.sql CREATE VIEW retention.runs

-- @from 20_engine.sql CREATE VIEW retention.progress

-- @from 20_engine.sql CREATE VIEW retention.status

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

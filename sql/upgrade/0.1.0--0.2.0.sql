\echo Use "ALTER EXTENSION pg_retention UPDATE TO '0.2.0'" to load this file. \quit

-- From 0.1.0: committed batches by walks and slices, and what they tell of themselves.

ALTER TABLE retention.run ADD COLUMN slice int, ADD COLUMN slices int, ADD COLUMN hand text, ADD COLUMN walk text,
    ADD COLUMN reason text, ADD COLUMN expected bigint, ADD COLUMN share double precision, ADD COLUMN pid int;

-- @from 20_engine.sql CREATE VIEW retention.runs

-- @from 20_engine.sql CREATE VIEW retention.progress

-- @from 20_engine.sql CREATE VIEW retention.status

REVOKE ALL ON retention.progress FROM PUBLIC;

DROP PROCEDURE retention.run(text, bigint, interval, bigint, retention.result);

-- @from 20_engine.sql CREATE PROCEDURE retention.run(

REVOKE ALL ON PROCEDURE retention.run(text, bigint, interval, bigint, boolean, int, int, bigint, interval, retention.result) FROM PUBLIC;

-- @whole 22_holds.sql

ALTER TABLE retention.policy ADD COLUMN record_keys boolean;

-- @from 20_engine.sql CREATE VIEW retention.policies

DROP FUNCTION retention.add_policy(text, regclass, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, boolean, boolean);

-- @from 20_engine.sql CREATE FUNCTION retention.add_policy(

DROP FUNCTION retention.alter_policy(text, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, regclass, text[]);

-- @from 20_engine.sql CREATE FUNCTION retention.alter_policy(

REVOKE ALL ON FUNCTION retention.add_policy(text, regclass, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, boolean, boolean, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION retention.alter_policy(text, interval, name, regclass, name[], name[], text, text, text, text, text[], text, text, text, text, regclass, text, bigint, name[], bigint, double precision, int, regclass, text[], boolean) FROM PUBLIC;

-- @whole 28_undo.sql

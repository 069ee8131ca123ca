-- The sessions of a booking assistant: psql -v sessions=500000 -v messages=3000000 -v media=1500000 -f stay.sql
--
-- Half of the users have written nothing for more than 26 hours (one in ten of them never did), though the bot may have written
-- to them since; the others wrote within the last two hours. Images are three fifths of the media, videos the rest. The columns
-- that refer to other tables are indexed: without, removing a session would read both tables of media. Times are naive and in UTC.

CREATE TABLE users (
    user_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    phone_number varchar NOT NULL UNIQUE,
    created_at   timestamp
);
CREATE TABLE properties (property_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL);
CREATE TABLE sessions (
    id          varchar(64) PRIMARY KEY,
    user_id     uuid NOT NULL,
    created_at  timestamp,
    property_id uuid
);
CREATE TABLE messages (
    id          serial PRIMARY KEY,
    user_id     uuid NOT NULL,
    sender      varchar(10),
    content     text,
    "timestamp" timestamp
);
CREATE TABLE "imageSent" (id serial PRIMARY KEY, session_id varchar(64) NOT NULL, property_id uuid NOT NULL);
CREATE TABLE "videoSent" (id serial PRIMARY KEY, session_id varchar(64) NOT NULL, property_id uuid NOT NULL);

BEGIN;
SET LOCAL work_mem = '512MB';
SELECT setseed(0.25) \g /dev/null

-- One user for two sessions; `kind`: below 0.05 silent without a message, below 0.5 silent, else alive.
CREATE TEMPORARY TABLE person ON COMMIT DROP AS
SELECT n, md5('user' || n)::uuid AS user_id, random() AS kind FROM generate_series(1, greatest(:sessions / 2, 1)) AS n;

INSERT INTO users
SELECT user_id, '+49' || 1500000000 + n, (now() AT TIME ZONE 'UTC') - interval '60 days' FROM person ORDER BY n;
INSERT INTO properties
SELECT md5('property' || n)::uuid, 'House ' || n FROM generate_series(1, 1000) AS n;

INSERT INTO sessions
SELECT md5('session' || s), user_id, (now() AT TIME ZONE 'UTC') - interval '30 days' * (1 - s / :sessions::float8),
       md5('property' || 1 + floor(random() * 1000)::int)::uuid
FROM (SELECT s, 1 + floor(random() * (SELECT count(*) FROM person))::int AS n FROM generate_series(1, :sessions) AS s) AS drawn
JOIN person USING (n) ORDER BY s;

-- Every living user has one message of the last two hours; the rest lies anywhere within a month.
INSERT INTO messages (user_id, sender, content, "timestamp")
SELECT user_id, sender, 'What about the weekend of the 14th, for two?', at
FROM (SELECT user_id, 'user' AS sender, (now() AT TIME ZONE 'UTC') - random() * interval '2 hours' AS at FROM person WHERE kind >= 0.5
      UNION ALL
      SELECT user_id, sender, (now() AT TIME ZONE 'UTC') - CASE WHEN sender = 'bot' THEN interval '0' ELSE interval '26 hours' END
                                  - random() * interval '28 days'
      FROM (SELECT user_id, CASE WHEN kind < 0.05 OR random() < 0.5 THEN 'bot' ELSE 'user' END AS sender
            FROM (SELECT 1 + floor(random() * (SELECT count(*) FROM person))::int AS n
                  FROM generate_series(1, :messages - (SELECT count(*) FROM person WHERE kind >= 0.5))) AS drawn
            JOIN person USING (n)) AS addressed) AS said
ORDER BY at;

INSERT INTO "imageSent" (session_id, property_id)
SELECT md5('session' || s), md5('property' || 1 + floor(random() * 1000)::int)::uuid
FROM (SELECT 1 + floor(random() * :sessions)::int AS s FROM generate_series(1, :media * 3 / 5)) AS drawn ORDER BY s + random() * 1000;
INSERT INTO "videoSent" (session_id, property_id)
SELECT md5('session' || s), md5('property' || 1 + floor(random() * 1000)::int)::uuid
FROM (SELECT 1 + floor(random() * :sessions)::int AS s FROM generate_series(1, :media * 2 / 5)) AS drawn ORDER BY s + random() * 1000;

ALTER TABLE sessions ADD FOREIGN KEY (user_id) REFERENCES users, ADD FOREIGN KEY (property_id) REFERENCES properties;
ALTER TABLE messages ADD FOREIGN KEY (user_id) REFERENCES users;
ALTER TABLE "imageSent" ADD FOREIGN KEY (session_id) REFERENCES sessions, ADD FOREIGN KEY (property_id) REFERENCES properties;
ALTER TABLE "videoSent" ADD FOREIGN KEY (session_id) REFERENCES sessions, ADD FOREIGN KEY (property_id) REFERENCES properties;
COMMIT;

CREATE INDEX ON sessions (user_id);
CREATE INDEX ON messages (user_id);
CREATE INDEX ON "imageSent" (session_id);
CREATE INDEX ON "videoSent" (session_id);
VACUUM (ANALYZE) users, properties, sessions, messages, "imageSent", "videoSent";

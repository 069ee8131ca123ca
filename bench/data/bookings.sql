-- Bookings: psql -v pending=1000000 -f bookings.sql
--
-- `pending` bookings wait for a payment since a day or longer; half as many again are settled, or too young to expire: dated a day
-- ahead, so that they stay young while the measurements last. No index but the primary key. Times are naive and in UTC.

CREATE TYPE booking_status_enum AS ENUM ('Pending', 'Waiting', 'Confirmed', 'Cancelled', 'Completed', 'Expired');
CREATE TABLE users (
    user_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    phone_number varchar NOT NULL UNIQUE,
    created_at   timestamp
);
CREATE TABLE properties (property_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL);
CREATE TABLE bookings (
    booking_id   text PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (user_id),
    property_id  uuid NOT NULL REFERENCES properties (property_id),
    booking_date timestamp NOT NULL,
    total_cost   numeric(10, 2) NOT NULL,
    status       booking_status_enum DEFAULT 'Pending',
    created_at   timestamp,
    updated_at   timestamp
);

BEGIN;
SELECT setseed(0.25) \g /dev/null
INSERT INTO users
SELECT md5('user' || n)::uuid, '+49' || 1500000000 + n, (now() AT TIME ZONE 'UTC') - interval '60 days' FROM generate_series(1, 10000) AS n;
INSERT INTO properties
SELECT md5('property' || n)::uuid, 'House ' || n FROM generate_series(1, 1000) AS n;

-- Every third booking is none of the pending ones.
INSERT INTO bookings
SELECT 'BK' || upper(substr(md5('booking' || n), 1, 16)), md5('user' || 1 + floor(random() * 10000)::int)::uuid,
       md5('property' || 1 + floor(random() * 1000)::int)::uuid, made + random() * interval '90 days', 80 + (random() * 900)::numeric(10, 2),
       status, CASE WHEN is_young THEN (now() AT TIME ZONE 'UTC') + interval '1 day' ELSE made END, made
FROM (SELECT n, (now() AT TIME ZONE 'UTC') - interval '1 day' - interval '400 days' * (1 - n / (:pending * 1.5)) AS made, n % 15 = 0 AS is_young,
             CASE WHEN n % 15 = 0 OR n % 3 > 0 THEN 'Pending'
                  ELSE (ARRAY['Waiting', 'Confirmed', 'Cancelled', 'Completed', 'Expired'])[1 + floor(random() * 5)::int]
             END::booking_status_enum AS status
      FROM generate_series(1, :pending * 3 / 2) AS n) AS drawn
ORDER BY n;
COMMIT;
VACUUM (ANALYZE) users, properties, bookings;

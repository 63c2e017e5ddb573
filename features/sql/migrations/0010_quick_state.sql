-- What a request reads of its user, in few rows: what was seen as bits (a pool of 10,000 artworks in ten rows), what was
-- taken over from the host without counting it, and the latest list without looking through all.

-- Bit n of block b stands for the artwork key b * 1024 + n; kept by the triggers below, never written by hand.
CREATE TABLE seen_bits (
    user_id text NOT NULL,
    block   integer NOT NULL,
    bits    bit(1024) NOT NULL,
    PRIMARY KEY (user_id, block)
) WITH (fillfactor = 80);

CREATE FUNCTION set_seen_bits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO vernissage.seen_bits AS b (user_id, block, bits)
    SELECT user_id, artwork_key >> 10, bit_or(set_bit(0::bit(1024), artwork_key & 1023, 1))
    FROM fresh GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (user_id, block) DO UPDATE SET bits = b.bits | excluded.bits;
    RETURN NULL;
END $$;

-- A block of which anything went is made anew from what is left.
CREATE FUNCTION clear_seen_bits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM vernissage.seen_bits AS b USING (SELECT DISTINCT user_id, artwork_key >> 10 AS block FROM gone) AS g
    WHERE b.user_id = g.user_id AND b.block = g.block;
    INSERT INTO vernissage.seen_bits (user_id, block, bits)
    SELECT s.user_id, g.block, bit_or(set_bit(0::bit(1024), s.artwork_key & 1023, 1))
    FROM (SELECT DISTINCT user_id, artwork_key >> 10 AS block FROM gone) AS g
    JOIN vernissage.seen AS s ON s.user_id = g.user_id
         AND s.artwork_key BETWEEN g.block * 1024 AND g.block * 1024 + 1023
    GROUP BY 1, 2;
    RETURN NULL;
END $$;

CREATE TRIGGER seen_bits_set AFTER INSERT ON seen
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION set_seen_bits();
CREATE TRIGGER seen_bits_clear AFTER DELETE ON seen
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION clear_seen_bits();
-- Jobs that fill a database switch the foreign keys' triggers off; these must go on.
ALTER TABLE seen ENABLE ALWAYS TRIGGER seen_bits_set;
ALTER TABLE seen ENABLE ALWAYS TRIGGER seen_bits_clear;

INSERT INTO seen_bits (user_id, block, bits)
SELECT user_id, artwork_key >> 10, bit_or(set_bit(0::bit(1024), artwork_key & 1023, 1)) FROM seen GROUP BY 1, 2;

-- What a session has only loaded is still to be seen there.
CREATE INDEX seen_loaded ON seen (user_id, loaded_by) INCLUDE (artwork_key) WHERE loaded_by IS NOT NULL;

-- When all that the host holds of a user was last compared with what was taken over; between, only its newest rows are.
ALTER TABLE absorbed ADD COLUMN checked_at timestamptz NOT NULL DEFAULT '-infinity';

-- The latest list of a session.
ALTER TABLE sessions ADD COLUMN last_list uuid;
UPDATE sessions AS s SET last_list = (
    SELECT l.recommendation_id FROM served_lists AS l
    WHERE l.user_id = s.user_id AND l.session_id = s.session_id ORDER BY l.served_at DESC LIMIT 1);

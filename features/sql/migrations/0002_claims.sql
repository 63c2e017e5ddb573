-- Loaded is not displayed; what is passed over and over is taken out; who the host knew; replays.

-- The session that has the artwork in memory without having shown it; NULL once it was displayed.
ALTER TABLE seen ADD COLUMN loaded_by text;

-- passes: how often a held artwork (same position in `held`) was passed over by the display of a later one.
-- retired: taken out for this session, since they were passed over too often (a broken image).
-- shown: displays in this session, which the chance of the next one depends on.
-- client: the latest counters that the client reported of itself.
ALTER TABLE sessions
    ADD COLUMN passes  smallint[] NOT NULL DEFAULT '{}',
    ADD COLUMN retired integer[] NOT NULL DEFAULT '{}',
    ADD COLUMN shown   integer NOT NULL DEFAULT 0,
    ADD COLUMN client  jsonb NOT NULL DEFAULT '{}';

-- Users that the host's table held when they were last served: when it no longer does, their rows here go too.
CREATE TABLE hosted_users (
    user_id text PRIMARY KEY
);

CREATE TABLE replays (
    user_id          text NOT NULL,
    artwork_key      integer NOT NULL,
    replays          integer NOT NULL DEFAULT 1,
    last_replayed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, artwork_key)
);

-- The one truth: seen marks, sessions with their leases, served lists, events, keys, live models.

-- A small integer for each artwork id, kept for ever, so that seen sets stay compact.
CREATE TABLE artwork_keys (
    artwork_key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    artwork_id  text NOT NULL UNIQUE
);

-- What a user has been shown: the first sighting, kept even when the host prunes or deletes.
CREATE TABLE seen (
    user_id     text NOT NULL,
    artwork_key integer NOT NULL,
    seen_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, artwork_key)
);

-- How much of the host's user_art_impressions has been taken over into seen, by user.
CREATE TABLE absorbed (
    user_id      text PRIMARY KEY,
    host_rows    bigint NOT NULL,
    host_latest  timestamp
);

-- A browser session of a user and the artworks on lease to it (held: offered, not yet shown).
CREATE TABLE sessions (
    user_id      text NOT NULL,
    session_id   text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_sign_at timestamptz,
    leases_from  timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    held         integer[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (user_id, session_id)
);

-- One immutable row per answered list: lease, exposure log and attribution key at once.
CREATE TABLE served_lists (
    recommendation_id uuid PRIMARY KEY,
    user_id           text NOT NULL,
    session_id        text NOT NULL,
    served_at         timestamptz NOT NULL DEFAULT now(),
    repeats           uuid,
    policy            text NOT NULL,
    model_version     text,
    requested         smallint NOT NULL,
    reason            text,
    artwork_keys      integer[] NOT NULL,
    scores            real[] NOT NULL,
    rungs             smallint[] NOT NULL,
    propensities      real[] NOT NULL,
    candidate_hash    bigint NOT NULL,
    candidate_size    integer NOT NULL,
    excluded          jsonb NOT NULL
);
CREATE INDEX served_lists_by_user ON served_lists (user_id, served_at DESC);

-- Displays and signals, keyed by event so that a double send is not a double display.
CREATE TABLE events (
    event_key   uuid PRIMARY KEY,
    user_id     text NOT NULL,
    artwork_key integer NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('displayed', 'dwell', 'like', 'dislike', 'skip', 'favourite')),
    at          timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    session_id  text,
    lease_id    uuid,
    value       real
);
CREATE INDEX events_taste_by_user ON events (user_id, at DESC) WHERE kind <> 'displayed';
CREATE INDEX events_displayed_by_user ON events (user_id, at DESC) WHERE kind = 'displayed';

CREATE TABLE api_keys (
    key_id     text PRIMARY KEY,
    key_hash   bytea NOT NULL UNIQUE,
    scopes     text[] NOT NULL,
    label      text,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- Which bundle each alias stands for; workers watch this row. A refusal is noted beside it.
CREATE TABLE live_models (
    alias           text PRIMARY KEY,
    version         text NOT NULL,
    bundle_path     text NOT NULL,
    digest          text NOT NULL,
    moved_at        timestamptz NOT NULL DEFAULT now(),
    refused_version text,
    refused_reason  text,
    refused_at      timestamptz
);

CREATE TABLE audit_log (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT now(),
    actor    text NOT NULL,
    action   text NOT NULL,
    subject  text NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}'
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER served_lists_immutable BEFORE UPDATE ON served_lists
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One secret per installation: pseudonyms of users in logs, signatures of browser tokens.
CREATE TABLE secrets (
    name  text PRIMARY KEY,
    value text NOT NULL
);
INSERT INTO secrets VALUES ('installation', gen_random_uuid()::text || gen_random_uuid()::text);

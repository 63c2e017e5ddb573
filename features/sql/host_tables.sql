-- The host application's tables, made only in stand-alone mode, where no host has made them.
-- Names, types, defaults and indexes are the host's own, so that its client cannot tell the difference.

CREATE TABLE users (
    id                    varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    email                 varchar UNIQUE,
    subscription_tier     varchar DEFAULT 'free',
    preferred_orientation varchar,
    style_preferences     text,
    is_active             boolean NOT NULL DEFAULT true,
    created_at            timestamp NOT NULL DEFAULT now(),
    updated_at            timestamp NOT NULL DEFAULT now()
);

CREATE TABLE art_sessions (
    id                     varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    session_id             varchar NOT NULL,
    user_id                varchar,
    image_url              text NOT NULL,
    prompt                 text NOT NULL,
    dna_vector             text,
    audio_features         text,
    music_track            text,
    music_artist           text,
    music_genre            text,
    music_album            text,
    generation_explanation text,
    is_saved               boolean NOT NULL DEFAULT false,
    motifs                 text[] DEFAULT '{}',
    quality_score          numeric(3,1) DEFAULT 50.0,
    perceptual_hash        varchar,
    pool_status            varchar DEFAULT 'active',
    last_used_at           timestamp,
    styles                 text[] DEFAULT '{}',
    artists                text[] DEFAULT '{}',
    is_library             boolean NOT NULL DEFAULT false,
    orientation            varchar,
    aspect_ratio           varchar,
    catalogue_tier         varchar,
    width                  integer,
    height                 integer,
    safe_area              text,
    focal_points           text,
    sidefill_palette       text,
    created_at             timestamp NOT NULL DEFAULT now(),
    version                integer NOT NULL DEFAULT 1
);
CREATE INDEX art_sessions_session_id_idx ON art_sessions (session_id);
CREATE INDEX art_sessions_user_id_idx ON art_sessions (user_id);
CREATE INDEX art_sessions_quality_score_idx ON art_sessions (quality_score);
CREATE INDEX art_sessions_pool_status_idx ON art_sessions (pool_status);
CREATE INDEX art_sessions_is_library_idx ON art_sessions (is_library);
CREATE INDEX art_sessions_orientation_idx ON art_sessions (orientation);
CREATE INDEX art_sessions_catalogue_tier_idx ON art_sessions (catalogue_tier);
CREATE INDEX art_sessions_library_idx ON art_sessions (is_library, orientation, catalogue_tier);
CREATE INDEX art_sessions_session_created_idx ON art_sessions (session_id, created_at);
CREATE INDEX art_sessions_styles_idx ON art_sessions USING gin (styles);

CREATE TABLE user_art_impressions (
    id         varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    user_id    varchar NOT NULL REFERENCES users ON DELETE CASCADE,
    artwork_id varchar NOT NULL REFERENCES art_sessions ON DELETE CASCADE,
    viewed_at  timestamp NOT NULL DEFAULT now(),
    bridge_at  timestamp,
    version    integer NOT NULL DEFAULT 1,
    UNIQUE (user_id, artwork_id)
);
CREATE INDEX user_art_impressions_user_idx ON user_art_impressions (user_id);
CREATE INDEX user_art_impressions_artwork_idx ON user_art_impressions (artwork_id);
CREATE INDEX user_art_impressions_viewed_idx ON user_art_impressions (viewed_at);
CREATE INDEX user_art_impressions_user_viewed_idx ON user_art_impressions (user_id, viewed_at);
CREATE INDEX user_art_impressions_bridge_idx ON user_art_impressions (bridge_at);

CREATE TABLE art_preferences (
    id           varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    session_id   varchar NOT NULL,
    styles       text[] NOT NULL DEFAULT '{}',
    artists      text[] NOT NULL DEFAULT '{}',
    dynamic_mode boolean NOT NULL DEFAULT false,
    created_at   timestamp NOT NULL DEFAULT now()
);

CREATE TABLE art_votes (
    id                    varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    session_id            varchar NOT NULL,
    art_prompt            text NOT NULL,
    vote                  integer NOT NULL,
    audio_characteristics text,
    created_at            timestamp NOT NULL DEFAULT now()
);

CREATE TABLE art_favorites (
    id         varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    user_id    varchar NOT NULL REFERENCES users ON DELETE CASCADE,
    artwork_id varchar NOT NULL REFERENCES art_sessions ON DELETE CASCADE,
    created_at timestamp NOT NULL DEFAULT now(),
    UNIQUE (user_id, artwork_id)
);

CREATE TABLE rai_sessions (
    id                varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    user_id           varchar,
    client_session_id varchar,
    started_at        timestamp NOT NULL DEFAULT now(),
    ended_at          timestamp,
    duration_seconds  integer
);

CREATE TABLE telemetry_events (
    id         varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    session_id varchar REFERENCES rai_sessions ON DELETE CASCADE,
    user_id    varchar,
    event_type varchar NOT NULL,
    event_data text,
    timestamp  timestamp NOT NULL DEFAULT now()
);

CREATE TABLE user_credits (
    user_id             varchar PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    balance             integer NOT NULL DEFAULT 0,
    rollover_balance    integer NOT NULL DEFAULT 0,
    base_quota          integer NOT NULL DEFAULT 0,
    billing_cycle_start timestamp,
    billing_cycle_end   timestamp,
    timezone            varchar
);

CREATE TABLE generation_jobs (
    id            varchar PRIMARY KEY DEFAULT gen_random_uuid()::text,
    session_id    varchar,
    user_id       varchar NOT NULL REFERENCES users ON DELETE CASCADE,
    status        varchar NOT NULL DEFAULT 'pending',
    priority      integer NOT NULL DEFAULT 0,
    payload       text NOT NULL,
    retry_count   integer NOT NULL DEFAULT 0,
    max_retries   integer NOT NULL DEFAULT 3,
    result        text,
    error_message text,
    created_at    timestamp NOT NULL DEFAULT now(),
    started_at    timestamp,
    completed_at  timestamp,
    version       integer NOT NULL DEFAULT 1
);

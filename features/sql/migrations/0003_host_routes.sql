-- What the host's routes need: the filters that a session asked with, jobs for lists that could not be filled at once.

-- The styles, artists and orientation that the host's client last asked with; NULL while it has not asked with any.
ALTER TABLE sessions ADD COLUMN filters jsonb;

-- For the monitoring of what is going on now, among all that ever went on.
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX events_by_arrival ON events USING brin (received_at) WITH (autosummarize = on);

-- A list that a session waits for, since too few unseen artworks were left.
CREATE TABLE list_jobs (
    job_id     uuid PRIMARY KEY,
    user_id    text NOT NULL,
    session_id text NOT NULL,
    wanted     smallint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX list_jobs_by_user ON list_jobs (user_id, created_at DESC);

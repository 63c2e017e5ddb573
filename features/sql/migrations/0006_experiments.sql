-- Experiments: what was defined (immutable, by version), what became of it (append-only), and who was in which arm of
-- what when a list was served.

-- The number that decides who is in which arm: the top 52 bits of SHA-256 of salt, ':' and id.
CREATE FUNCTION bucket(salt text, unit_id text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || left(encode(sha256(convert_to(salt || ':' || unit_id, 'UTF8')), 'hex'), 13))::bit(52)::bigint;

-- Which of so many equal parts a unit falls in, from 0; numeric, since the product is beyond a bigint.
CREATE FUNCTION place(salt text, unit_id text, places integer) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN div(bucket(salt, unit_id)::numeric * places, 4503599627370496)::integer;

CREATE TABLE experiments (
    name       text NOT NULL,
    version    smallint NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version)
);
CREATE TRIGGER experiments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON experiments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A version's state is its newest entry's. `slots`: how many of its slots the ramp has got to. `horizon_days`: how long
-- after its start it is judged, and `power`: the chance to find its smallest effect by then; both fixed when it starts.
CREATE TABLE experiment_states (
    entry        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    version      smallint NOT NULL,
    state        text NOT NULL CHECK (state IN ('draft', 'running', 'stopped', 'archived')),
    slots        smallint NOT NULL DEFAULT 0,
    horizon_days smallint,
    power        real,
    reason       text,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (name, version) REFERENCES experiments
);
CREATE INDEX experiment_states_by_version ON experiment_states (name, version, entry DESC);
CREATE TRIGGER experiment_states_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON experiment_states
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- How things stand: one row per version.
CREATE VIEW experiments_now AS
SELECT DISTINCT ON (e.name, e.version) e.name, e.version, e.definition, s.state, s.slots, s.horizon_days, s.power,
       s.reason, s.at,
       (SELECT min(r.at) FROM experiment_states AS r
        WHERE r.name = e.name AND r.version = e.version AND r.state = 'running') AS started_at,
       (SELECT min(r.at) FROM experiment_states AS r
        WHERE r.name = e.name AND r.version = e.version AND r.state = 'stopped') AS stopped_at
FROM experiments AS e JOIN experiment_states AS s ON s.name = e.name AND s.version = e.version
ORDER BY e.name, e.version, s.entry DESC;

-- Users whose arm somebody chose; they are left out of the analysis.
CREATE TABLE experiment_overrides (
    name    text NOT NULL,
    user_id text NOT NULL,
    arm     text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, user_id)
);
CREATE INDEX experiment_overrides_by_user ON experiment_overrides (user_id);

-- By experiment: its version, the arm, whether it was chosen by hand, and for an interleaved list each slot's team. NULL
-- where no experiment ran for the user.
ALTER TABLE served_lists ADD COLUMN experiments jsonb;
CREATE INDEX served_lists_by_experiment ON served_lists USING gin (experiments jsonb_path_ops)
    WHERE experiments IS NOT NULL;

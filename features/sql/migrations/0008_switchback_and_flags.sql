-- Experiments by blocks of time.

-- By which arm an order was planned: {"name", "version", "block", "arm"}; NULL while no switchback ran.
ALTER TABLE orders ADD COLUMN experiment jsonb;

-- Feature flags: {"name", "share", "on", "off"}; every change is in the audit log.
CREATE TABLE flags (
    name       text PRIMARY KEY,
    definition jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Who was first under an arm's client value, as the client says: its flush delay, batch or retries.
CREATE TABLE client_exposures (
    user_id    text NOT NULL,
    name       text NOT NULL,
    version    smallint NOT NULL,
    arm        text NOT NULL,
    overridden boolean NOT NULL,
    session_id text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, name, version)
);
CREATE INDEX client_exposures_by_version ON client_exposures (name, version, at);

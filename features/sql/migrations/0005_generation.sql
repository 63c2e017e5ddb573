-- Orders for new artworks: what was wished for (immutable) and what became of it (append-only versions), the budget
-- that no number of planners can overspend, who leads, and how each provider is doing.

-- A planning epoch orders once; who comes second finds its row.
CREATE TABLE planning_epochs (
    epoch      bigint PRIMARY KEY,
    planned_at timestamptz NOT NULL DEFAULT now(),
    wished     smallint NOT NULL,
    placed     smallint NOT NULL  -- fewer than wished where the budget ended
);

-- One image that was ordered.
CREATE TABLE orders (
    order_id   uuid PRIMARY KEY,
    epoch      bigint NOT NULL,
    place      smallint NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    dispatcher text NOT NULL,
    user_ids   text[] NOT NULL,  -- for whom
    near       text NOT NULL,    -- the artwork that it shall be like
    dna        real[] NOT NULL,
    styles     text[] NOT NULL,
    prompt     text NOT NULL,
    benefit    real NOT NULL,    -- dollars of stock-outs avoided, expected
    reach      real NOT NULL,    -- users who get to it within the horizon, expected
    priority   real NOT NULL,    -- the highest need among its users
    cost       numeric(10, 4) NOT NULL,  -- dollars
    deadline   timestamptz NOT NULL,
    UNIQUE (epoch, place)
);
CREATE INDEX orders_by_time ON orders (ordered_at DESC);
CREATE INDEX orders_by_deadline ON orders (deadline);
CREATE INDEX orders_by_user ON orders USING gin (user_ids);

-- An order never changes, but that users who are erased leave it.
CREATE FUNCTION allow_only_leaving() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT NEW.user_ids <@ OLD.user_ids OR to_jsonb(NEW) - 'user_ids' <> to_jsonb(OLD) - 'user_ids' THEN
        RAISE EXCEPTION '% is immutable, but for users who leave it', TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_immutable BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION allow_only_leaving();

-- What became of an order; its state is the newest version's.
CREATE TABLE order_versions (
    entry    bigint GENERATED ALWAYS AS IDENTITY UNIQUE,  -- the event id of a stream of progress
    order_id uuid NOT NULL REFERENCES orders ON DELETE CASCADE,
    version  smallint NOT NULL,
    state    text NOT NULL CHECK (
        state IN ('planned', 'sent', 'running', 'delivered', 'failed', 'cancelled', 'expired')),
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    detail   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (order_id, version)
);
CREATE INDEX order_versions_by_time ON order_versions (at);
CREATE INDEX order_versions_over ON order_versions (order_id)
    WHERE state IN ('delivered', 'failed', 'cancelled', 'expired');
CREATE TRIGGER order_versions_append_only BEFORE UPDATE ON order_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Which state may follow which. What expired after it was sent may still be delivered: it is made and paid for.
CREATE TABLE order_transitions (
    old text NOT NULL,
    new text NOT NULL,
    PRIMARY KEY (old, new)
);
INSERT INTO order_transitions VALUES
    ('planned', 'sent'), ('planned', 'cancelled'), ('planned', 'expired'),
    ('sent', 'running'), ('sent', 'delivered'), ('sent', 'failed'), ('sent', 'cancelled'), ('sent', 'expired'),
    ('running', 'delivered'), ('running', 'failed'), ('running', 'cancelled'), ('running', 'expired'),
    ('expired', 'delivered');

-- The budget, one row: what is left of the rolling hour (NULL: all of it), what the local day has spent, the switch.
CREATE TABLE budget (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    dollars     numeric,  -- in the hour's bucket, at `levelled_at`
    images      numeric,
    levelled_at timestamptz,
    day         date,
    day_dollars numeric(12, 4) NOT NULL DEFAULT 0,
    stopped     boolean NOT NULL DEFAULT false,
    stopped_by  text,
    stopped_at  timestamptz
);
INSERT INTO budget DEFAULT VALUES;

-- What is in a bucket by now; a full one where nothing was ever taken from it.
CREATE FUNCTION bucket_level(level numeric, since timestamptz, per_hour numeric, capacity numeric) RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT least(level + greatest(extract(epoch FROM statement_timestamp() - since), 0) / 3600 * per_hour, capacity)
$$;

-- How each provider is doing; `state` is what serving.generation.breaker makes of the calls so far.
CREATE TABLE breakers (
    dispatcher text PRIMARY KEY,
    state      jsonb NOT NULL
);
CREATE TABLE breaker_changes (
    entry      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dispatcher text NOT NULL,
    at         timestamptz NOT NULL,
    phase      text NOT NULL CHECK (phase IN ('closed', 'open', 'half_open'))
);
CREATE INDEX breaker_changes_by_time ON breaker_changes (dispatcher, at);

-- Who leads: a lease with an end, and a number that grows with every change of leader.
CREATE TABLE leaders (
    role       text PRIMARY KEY,
    holder     text NOT NULL,
    fence      bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

-- What the pictures that were painted here look like, so that none is there twice.
CREATE TABLE painted (
    artwork_id   text PRIMARY KEY,
    content_hash text NOT NULL UNIQUE,
    looks        bit(64) NOT NULL  -- difference hash
);

-- Orders for new artworks: what was wished for (immutable) and what became of it (append-only versions), the budget
-- that no number of planners can overspend, who leads, and how each provider is doing.

-- One image that was ordered. A planning epoch orders once: its places are unique.
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
CREATE TRIGGER orders_immutable BEFORE UPDATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

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
CREATE TRIGGER order_versions_append_only BEFORE UPDATE ON order_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

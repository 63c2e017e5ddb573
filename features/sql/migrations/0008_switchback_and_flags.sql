-- Experiments by blocks of time.

-- By which arm an order was planned: {"name", "version", "block", "arm"}; NULL while no switchback ran.
ALTER TABLE orders ADD COLUMN experiment jsonb;

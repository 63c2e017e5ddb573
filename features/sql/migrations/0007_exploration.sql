-- How a list came about: what it was drawn from, and what of its making no other table keeps.

-- inputs: of the request (filters, smoothness), the session (held, retired, on lease elsewhere), the user's choices, the
-- service's settings of lists, and hashes of the pool; what is as usual is left out. NULL in lists from before.
-- sampler: temperature, epsilon and seed of a list that was drawn; NULL for one in order of rank.
-- head_keys, head_scores: the artworks that it was drawn from and what their model gave them, best first.
ALTER TABLE served_lists
    ADD COLUMN inputs      jsonb,
    ADD COLUMN sampler     jsonb,
    ADD COLUMN head_keys   integer[],
    ADD COLUMN head_scores real[];

-- How long a list took until it was written, in milliseconds, and why the model did not rank it where one was to:
-- missing, late, busy, broken or cannot_score (serving.ranking); NULL where it did.
ALTER TABLE served_lists ADD COLUMN took_ms real, ADD COLUMN fallback text;

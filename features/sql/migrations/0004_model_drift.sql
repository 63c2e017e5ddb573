-- How far the data have moved since the live model was trained, as the last look at it found; NULL before the first.
ALTER TABLE live_models ADD COLUMN drift real;

"""What we know: rows in PostgreSQL as arrays. No models, no HTTP."""

"""What we know: rows in PostgreSQL as arrays. No models, no HTTP."""

__version__ = "0.1.0"

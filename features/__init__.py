"""What we know: rows in PostgreSQL as arrays. No models, no HTTP."""

import os

__version__ = "0.1.0"

# Before numpy is imported: a request's products are small, and threads would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

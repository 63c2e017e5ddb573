"""HTTP only: routes, schemas, problems. No ranking and no SQL."""

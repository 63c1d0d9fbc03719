"""One behaviour a file; each wraps any backend."""

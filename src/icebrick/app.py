"""The only place where settings become objects."""

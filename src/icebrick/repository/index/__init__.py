"""Which blob lies in which pack."""

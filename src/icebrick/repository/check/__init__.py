"""Looking for damage."""

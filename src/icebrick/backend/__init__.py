"""Files by type and name, on any storage medium. Nothing here knows what is in them."""

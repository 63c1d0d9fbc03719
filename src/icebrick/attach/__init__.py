"""Connection info to a device on this host, and back."""

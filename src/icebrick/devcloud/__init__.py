"""A real Keystone and a real Cinder in two processes, for tests and the demonstration."""

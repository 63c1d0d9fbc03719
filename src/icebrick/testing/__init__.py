"""Contract suites, verified fakes and fault injection: for tests, ours and those of other implementations."""

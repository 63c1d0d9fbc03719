"""A throw-away virtual machine that reads a hostile file system, so that this host's kernel need not."""

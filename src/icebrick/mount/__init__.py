"""The snapshots of a repository as a read-only file system of this host."""

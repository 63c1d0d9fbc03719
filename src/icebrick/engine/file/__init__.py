"""A volume as files: the tree of its file system as restic stores directories."""

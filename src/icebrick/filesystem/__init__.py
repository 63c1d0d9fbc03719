"""File systems on devices of this host: recognised, mounted, made again. Knows nothing of what is backed up."""

"""The restic v2 format, reading and writing. No OpenStack here, no printing."""

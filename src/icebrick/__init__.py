"""Icebrick: backup and restore of OpenStack Cinder volumes in restic repositories."""

__version__ = "0.1.0"

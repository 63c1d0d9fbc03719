"""Icebrick: backup and restore of OpenStack Cinder volumes in restic repositories."""

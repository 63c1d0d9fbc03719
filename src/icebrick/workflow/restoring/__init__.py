"""Restoring one volume in the cloud: where it goes, which way, with what content and which attributes."""

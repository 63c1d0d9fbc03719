"""Removing what no snapshot needs."""

"""Mending what can be mended."""

"""Bytes to blobs and back."""

"""Repositories in Swift."""

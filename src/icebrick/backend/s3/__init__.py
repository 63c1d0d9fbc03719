"""Repositories in S3."""

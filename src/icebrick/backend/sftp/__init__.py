"""Repositories on SFTP servers."""

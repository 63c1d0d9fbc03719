"""Repositories on FTP servers, with and without TLS."""

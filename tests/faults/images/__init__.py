"""Damaged and malicious file systems, made of real ones, and what becomes of those who read them."""

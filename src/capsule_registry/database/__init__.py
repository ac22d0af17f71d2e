"""Reaching a database, and one transaction on it."""

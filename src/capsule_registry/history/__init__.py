"""Revisions: read, followed, checked, pruned."""

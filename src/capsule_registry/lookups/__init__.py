"""Answers to what is asked on every message."""

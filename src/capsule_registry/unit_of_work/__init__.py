"""One transaction, one revision."""

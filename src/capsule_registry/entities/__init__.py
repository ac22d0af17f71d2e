"""One module a noun, with its SQL."""

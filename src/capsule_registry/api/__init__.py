"""What a program opens, and the verbs; no SQL."""

"""Who may do that."""

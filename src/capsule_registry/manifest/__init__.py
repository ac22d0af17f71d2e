"""The manifest of a capsule, `Capsule.toml`: read, checked, matched and ordered."""

"""
`Capsule.toml`: parsed, validated as the original does, and matched; it knows no database.

It may import the ground alone. Begin with `manifest`; its tables are in `parts`, what they must
hold to in `rules` and `semver`.
"""

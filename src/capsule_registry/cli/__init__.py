"""
The command, `capsule-registry`.

It imports what the package exports, and the JSON shapes; nothing imports it. Begin with `main`.
"""

"""
The tables, the images of their rows, and the version of both; `migrations/` makes them.

It may import `database` and the ground; `models` is its neighbour, and unknown to it. Begin with
`tables`; `version` says what a database has, and `upgrade` brings it up to date.
"""

"""
Who may do that: capability checks, which deny whatever goes wrong.

It may import `entities` and what is below it, but not `history`. Begin with `checks`, which asks
the database; the rules in `rules` are pure functions of a grant and a request.
"""

"""
One module a noun, with its SQL: capsules, uplinks, session UUIDs, leases and what belongs to them.

It may import `unit_of_work` and what is below it; a function here takes a unit or a scope, and
never begins or commits. Begin with `capsules` for reads and `registration` for writes.
"""

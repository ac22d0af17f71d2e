"""
What an operator does: upgrade and copy a database, keep its namespaces, diagnose it, set up roles.

It may import every room but `cli` and `api`. Begin with `admin`; `doctor` reports how a database is
set up, and `database_roles` writes the SQL that gives a role only what it needs.
"""

"""
Reaching a database, and one transaction on it: engines, retries, errors of drivers, forks, hosts.

It may import the ground alone, and never `manifest`. Begin with `database`, the one place that
begins and commits; what one kind of database is like stands in `dialects`.
"""

"""Everything that differs from one database to another; nothing else names one."""

"""
Answers to what is asked on every message, faster than a query: from memory, while it is current.

It may import `permissions`, `history` and what is below them. Begin with `fast_path`, whose
`find_by_uuid` is one frame; `file_lookups` knows when a file has changed under it.
"""

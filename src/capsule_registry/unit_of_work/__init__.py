"""
One transaction is one revision: lock the head, read, write rows and their events, move the head.

It may import `schema`, `models` and what is below them, and knows no noun of `entities`. Begin
with `unit`; `runner` begins, retries and commits one, and `queries` is how everything is read.
"""

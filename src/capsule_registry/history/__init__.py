"""
Revisions: read, followed, replayed, verified and pruned, and the state at any of them.

It may import `entities` and what is below it, but not `permissions`. Begin with `revisions`; the
past is read in `time_travel`, and `verification` proves that nothing was altered.
"""

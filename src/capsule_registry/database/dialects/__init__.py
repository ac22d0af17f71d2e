"""
What differs from one database to another, a module for each; nothing outside names one.

It may import the ground and its neighbours in `database`. Begin with `dialect`, which lists all
that a database has to say of itself, and `known`, which picks one by the engine.
"""

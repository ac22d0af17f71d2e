"""
The registry for asyncio: the same verbs as coroutines, run on threads unless memory answers.

It may import the rooms of the plain registry, and all below. Begin with `registry`.
"""

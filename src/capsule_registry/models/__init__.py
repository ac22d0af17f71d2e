"""
Values that go in and come out: records of rows, uplinks, and capsules that are to be registered.

It may import `manifest` and the ground; `schema` is its neighbour, and unknown to it. Begin with
`records`; what every database can store stands in `storable`.
"""

"""
What a program opens, and the verbs on it; no SQL stands here.

It may import every room but `cli` and `operations`. Begin with `registry`: its verbs are in
`reads` and `writes`; `json_shapes` documents what every verb returns as JSON.
"""

"""
The registry over HTTP, for hosts in any language: `capsule-registry serve`.

It may import every other room, and none imports it but by name, when its commands run. Begin with
`app`.
"""

"""Feast's SQL registry on SQLite, with its default settings."""

from __future__ import annotations

import feast  # type: ignore[import-not-found] # in an environment of its own
from answering import answer, directory, manifest
from feast.infra.registry.sql import (  # type: ignore[import-not-found]
    SqlRegistry,
    SqlRegistryConfig,
)

_PROJECT = "benchmark"
config = SqlRegistryConfig(registry_type="sql", path=f"sqlite:///{directory() / 'feast.db'}")
registry = SqlRegistry(config, _PROJECT, None)
text = manifest()


def register(name: str) -> None:
    """Apply an entity called *name*."""
    kind = feast.ValueType.STRING
    entity = feast.Entity(name=name, join_keys=[name], value_type=kind, description=text)
    registry.apply_entity(entity, _PROJECT)


answer(
    feast.__version__,
    {"register": register, "get": lambda name: registry.get_entity(name, _PROJECT)},
)

"""The commands on who talks to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.target import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import RegistryReader

_COLUMNS = ("capsule_id", "state", "direction", "topic", "handler", "priority", "wit")


@click.group
def routes() -> None:
    """Show who is called for a topic, who publishes it, who hears it, and what nobody does."""


@routes.command("list")
@click.argument("capsule_id", metavar="ID", required=False)
@listing(*_COLUMNS)
def list_routes(registry: RegistryReader, capsule_id: str | None) -> Iterator[dict[str, Any]]:
    """List the topics of all capsules, or of the capsule ID, with what is called for them."""
    return map(json_shapes.by_fields, registry.routes.list(capsule_id))


@routes.command
@click.argument("topic")
@listing("capsule_id", "handler", "priority", "topic", "mode", "is_gated")
def called(registry: RegistryReader, topic: str) -> Iterator[dict[str, Any]]:
    """List the handlers that a message of TOPIC calls, in their order."""
    return map(json_shapes.call, registry.routes.called(topic))


@routes.command
@click.argument("topic")
@listing("capsule_id")
def publishers(registry: RegistryReader, topic: str) -> Iterator[dict[str, Any]]:
    """List the capsules that may publish TOPIC."""
    return map(json_shapes.party, registry.routes.publishers(topic))


@routes.command
@click.argument("topic")
@listing("capsule_id")
def subscribers(registry: RegistryReader, topic: str) -> Iterator[dict[str, Any]]:
    """List the capsules that hear TOPIC."""
    return map(json_shapes.party, registry.routes.subscribers(topic))


@routes.command
@listing(*_COLUMNS)
def unheard(registry: RegistryReader) -> Iterator[dict[str, Any]]:
    """List what is published and nobody hears."""
    return map(json_shapes.by_fields, registry.routes.unheard())


@routes.command
@listing(*_COLUMNS)
def unsaid(registry: RegistryReader) -> Iterator[dict[str, Any]]:
    """List what is subscribed to and nobody publishes."""
    return map(json_shapes.by_fields, registry.routes.unsaid())


commands = (routes,)

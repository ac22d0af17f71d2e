"""Answers: JSON in the shapes that the command prints, and how they are described in OpenAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from capsule_registry.api import json_shapes
from capsule_registry.service.problems import json_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from capsule_registry import RegisteredCapsule


class Answer(Response):
    """A value, or JSON, which nobody is to keep: the next answer may be another one."""

    media_type = "application/json"

    def __init__(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        encoded = value if isinstance(value, bytes) else json_bytes(value)
        super().__init__(encoded, headers={"Cache-Control": "no-store", **(headers or {})})


def each(found: Iterable[Any], shape: Callable[[Any], Any] = json_shapes.by_fields) -> Answer:
    """Return the answer that lists what was *found*, each in its *shape*."""
    return Answer([*map(shape, found)])


def etag(record: RegisteredCapsule) -> dict[str, str]:
    """Return the header that carries the generation of a capsule."""
    return {"ETag": f'"{record.generation}"'}


def ok(model: Any, description: str = "Found.") -> dict[int | str, dict[str, Any]]:  # noqa: ANN401 - any type
    """Return how a successful answer is described: as *model* is."""
    return {200: {"model": model, "description": description}}

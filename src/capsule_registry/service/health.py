"""Whether the service lives, and can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Request
from starlette.responses import Response

from capsule_registry.service.answers import Answer, ok
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import Shape

if TYPE_CHECKING:
    from capsule_registry.service.registries import Registries

router: Final = strict_router("health")


class Life(Shape):
    """A sign of life."""

    status: str


@router.get("/livez", responses=ok(Life, "It lives."))
async def livez() -> Response:
    """Return that the service lives, whatever the database does."""
    return Answer({"status": "alive"})


@router.get("/readyz", responses=ok(Life, "It can answer."))
async def readyz(request: Request) -> Response:
    """Return that the service can answer: the database does, its schema can be used."""
    registries: Registries = request.app.state.registries
    await registries.require_ready()
    return Answer({"status": "ready"})

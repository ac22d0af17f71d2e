"""How the service does: for whoever supervises it, and for Prometheus."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response

from capsule_registry.service.answers import Answer, ok
from capsule_registry.service.metrics import Families, RegistryCollector
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import Shape

if TYPE_CHECKING:
    from capsule_registry import AsyncCapsuleRegistry
    from capsule_registry.service.registries import Registries
    from capsule_registry.service.tokens import Caller
    from capsule_registry.service.watching import Followers

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
    """Return that the service can answer: the database does, and its schema can be used."""
    registries: Registries = request.app.state.registries
    await registries.require_ready()
    return Answer({"status": "ready"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={HTTPStatus.OK: {"description": "Metrics.", "content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    """Return the metrics of this worker and of the namespaces that the caller may see."""
    caller: Caller = request.scope["caller"]
    registries: Registries = request.app.state.registries
    seen = {name: one for name, one in registries.opened.items() if caller.may_see(name)}
    found = CollectorRegistry()
    found.register(_ServiceCollector(seen, request.app.state.followers))
    text = await asyncio.to_thread(generate_latest, found)
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


class _ServiceCollector(RegistryCollector):
    """Collects what a service knows beside its registries, too."""

    def __init__(self, registries: dict[str, AsyncCapsuleRegistry], followers: Followers) -> None:
        plain: Any = [one._plain for one in registries.values()]  # noqa: SLF001 - of one house
        super().__init__(*plain)
        self._by_name = registries
        self._followers = followers

    def add_more(self, families: Families, namespace: str) -> None:
        """Add lookups from memory, and who follows."""
        remembered = self._by_name[namespace].remembered
        families.add_lookups(namespace, "memory", remembered)
        families.add_followers(namespace, self._followers.positions(namespace))

"""The application: every route of the service, and what is open while it runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from starlette.routing import Route

from capsule_registry import CapsuleRegistryError, __version__
from capsule_registry.api import json_shapes
from capsule_registry.service import (
    decisions,
    declarations,
    filing,
    history,
    leases,
    observing,
    problems,
    reading,
    watching,
    writing,
)
from capsule_registry.service.answers import Answer, ok
from capsule_registry.service.gate import Gate
from capsule_registry.service.limits import TIDY_SECONDS
from capsule_registry.service.openapi import described
from capsule_registry.service.protocol import FOLLOWERS
from capsule_registry.service.registries import Registries
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import Namespace
from capsule_registry.service.watching import Followers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from capsule_registry.service.settings import Settings
    from capsule_registry.service.tokens import Caller

logger: Final = logging.getLogger("capsule_registry")

_READS: Final = (
    decisions.router,
    reading.router,
    declarations.router,
    history.router,
    watching.router,
    leases.router,
)
_WRITES: Final = (writing.router, filing.router, leases.writes)

_NAMESPACE: Final = "/v1/namespaces/{namespace}"

namespaces: Final = strict_router("registered")


def create_app(settings: Settings) -> ASGIApp:
    """
    Return the application that serves as *settings* say.

    Raises:
        OSError, InvalidInputError: The file of tokens cannot be used.
    """
    return Gate(routed(settings), settings)


def routed(settings: Settings) -> FastAPI:
    """Return the application behind the gate; routes that change anything only if they may be."""
    app = FastAPI(
        title="capsule-registry",
        version=__version__,
        lifespan=_opened(settings),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    problems.handle(app)
    # What is asked on every message is found first, and does without FastAPI, which describes it.
    check = Route(f"{_NAMESPACE}/check", decisions.check, methods=["POST"])
    app.router.routes.insert(0, check)
    for router in _READS + (_WRITES if settings.allow_writes else ()):
        app.include_router(router, prefix=_NAMESPACE)
    app.include_router(namespaces, prefix="/v1")
    app.include_router(observing.router)
    described(app)
    return app


def _opened(settings: Settings) -> Any:  # noqa: ANN401 - Starlette's own
    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[dict[str, object]]:
        app.state.followers = followers = Followers()
        app.state.registries = registries = Registries(settings)
        await registries.open()
        tidying = asyncio.create_task(_tidy(registries, followers))
        try:
            yield {FOLLOWERS: followers}
        finally:
            tidying.cancel()
            followers.leave()
            await registries.close()

    return opened


async def _tidy(registries: Registries, followers: Followers) -> None:
    """Close what is not in use, now and then."""
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        try:
            await registries.close_forgotten(followers.followed)
        except CapsuleRegistryError as error:
            logger.warning("A registry could not be closed: %s", error)


@namespaces.get("/namespaces", responses=ok(list[Namespace]))
async def list_namespaces(request: Request) -> Answer:
    """List the namespaces that the caller may see, sorted by name."""
    caller: Caller = request.scope["caller"]
    registries: Registries = request.app.state.registries
    found = [one for one in await registries.list() if caller.may_see(one.name)]
    return Answer([*map(json_shapes.namespace, found)])

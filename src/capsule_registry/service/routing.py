"""Routes that take what they are described to take, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from capsule_registry.service.problems import RefusedError

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant
    from starlette.requests import Request
    from starlette.responses import Response


class StrictRoute(APIRoute):
    """Refuses query parameters that are not known: a filter with a typo would filter nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handle, known = super().get_route_handler(), {*_query_names(self.dependant)}
        described = (self.openapi_extra or {}).get("parameters", ())
        known |= {one["name"] for one in described if one["in"] == "query"}

        async def handle_known(request: Request) -> Response:
            if request.scope["query_string"]:
                refuse_unknown(request, known)
            return await handle(request)

        return handle_known


def refuse_unknown(request: Request, known: Collection[str]) -> None:
    """Refuse query parameters that are not *known*."""
    for name in request.query_params:
        if name not in known:
            detail = f"there is no query parameter {name[:64]!r} here, but {sorted(known)}"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (one.alias for one in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def strict_router(tag: str) -> APIRouter:
    """Return a router of strict routes, described under *tag*."""
    return APIRouter(tags=[tag], route_class=StrictRoute)

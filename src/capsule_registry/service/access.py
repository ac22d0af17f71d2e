"""What a request is about: a namespace, as of a moment, and what its caller may do there."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request
from pydantic import WithJsonSchema

from capsule_registry import (
    AsyncActing,
    AsyncCapsuleRegistry,
    AsyncPast,
    InvalidTextError,
    RequestRepeatedError,
)
from capsule_registry.api.moments import parse_moment, value_of
from capsule_registry.service.answers import Answer
from capsule_registry.service.problems import RefusedError
from capsule_registry.service.tokens import Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable

    from capsule_registry.service.registries import Registries
    from capsule_registry.service.tokens import Caller

_GENERATION: Final = r'^("?[0-9]{1,18}"?|\*)$'

_NAME: Final = "^[a-z0-9-]{1,63}$"
NamespaceName = Annotated[str, Path(pattern=_NAME, description="The namespace.")]
IdInPath = Annotated[
    str, Path(pattern="^[a-z0-9-]+$", max_length=128, description="The capsule's id.")
]
#: A capsule id to filter by.
OfCapsule = Annotated[str | None, Query(pattern="^[a-z0-9-]+$", max_length=128)]
_MOMENT: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]{1,18}$"},
        {"type": "string", "format": "date-time"},
    ],
    "examples": ["17", "2026-11-28T03:12:00Z"],
}
#: A moment as people write it, for `at_moment`.
MomentText = Annotated[str, WithJsonSchema(_MOMENT)]
#: A time as people write it, for `at_time`.
TimeText = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
At = Annotated[
    MomentText | None,
    Query(description="As it was at this revision, or at this time in ISO 8601 with a zone."),
]
#: The same two, for a route that does not leave them to FastAPI.
NAMESPACE_DESCRIBED: Final[dict[str, Any]] = {
    "name": "namespace",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": _NAME},
}
AT_DESCRIBED: Final[dict[str, Any]] = {"name": "at", "in": "query", "schema": _MOMENT}


def at_moment(text: str) -> int | datetime:
    """
    Return the revision or the time that *text* is.

    Raises:
        InvalidTextError: It is neither, or has no zone.
    """
    return value_of(parse_moment(text))


def at_time(text: str) -> datetime:
    """
    Return the time that *text* is.

    Raises:
        InvalidTextError: It is none, or has no zone.
    """
    time = at_moment(text)
    if not isinstance(time, datetime):
        raise InvalidTextError("time", "malformed", f"{text!r} is no time")
    return time


def require(request: Request, namespace: str, *roles: Role) -> Caller:
    """Return who asks, if that one may see the namespace, and has one of *roles* if any."""
    caller: Caller = request.scope["caller"]
    if not caller.may_see(namespace):
        detail = f"the token {caller.name} is not for the namespace {namespace}"
        raise RefusedError(HTTPStatus.FORBIDDEN, detail)
    if roles and caller.role not in roles:
        detail = f"this takes a token of the role {' or '.join(roles)}"
        raise RefusedError(HTTPStatus.FORBIDDEN, detail)
    return caller


async def current(request: Request, namespace: NamespaceName) -> AsyncCapsuleRegistry:
    """Return the registry of the namespace, as it is now."""
    require(request, namespace)
    return await _registry_of(request, namespace)


async def _registry_of(request: Request, namespace: str) -> AsyncCapsuleRegistry:
    registries: Registries = request.app.state.registries
    return await registries.of(namespace)


async def viewed(
    request: Request, namespace: NamespaceName, at: At = None
) -> AsyncCapsuleRegistry | AsyncPast:
    """Return the registry of the namespace, as of the moment that is asked for."""
    registry = await current(request, namespace)
    return registry if at is None else await registry.at(**parse_moment(at))


async def audited(request: Request, namespace: NamespaceName) -> AsyncCapsuleRegistry:
    """Return the registry of the namespace for one who checks its whole history."""
    require(request, namespace, Role.AUDITOR)
    return await _registry_of(request, namespace)


Current = Annotated[AsyncCapsuleRegistry, Depends(current)]
View = Annotated[AsyncCapsuleRegistry | AsyncPast, Depends(viewed)]
Audited = Annotated[AsyncCapsuleRegistry, Depends(audited)]


class Writer:
    """One who changes a namespace, and how that is answered."""

    def __init__(self, registry: AsyncCapsuleRegistry, acting: AsyncActing, caller: Caller) -> None:
        self.registry = registry
        self.acting = acting
        self._caller = caller

    async def done(
        self,
        work: Awaitable[Any],
        actions: Container[str],
        about: Iterable[str] = (),
        *,
        shape: Callable[[Any], Any] = lambda result: result,
        headers: Callable[[Any], dict[str, str]] = lambda _: {},
    ) -> Answer:
        """
        Return the answer to a change: what it did, or that it was done already.

        The latter only if the revision of its key is the caller's, and has an event of one of the
        *actions*, *about* all of these: what else has that key is not this change.
        """
        try:
            result = await work
        except RequestRepeatedError as error:
            if not await self._was_this(error, actions, {*about}):
                raise
            repeated = {"revision": error.revision, "repeated": True, "result": None}
            return Answer(repeated, {"Idempotent-Replayed": "true"})
        made = {"revision": self.acting.revision, "repeated": False, "result": shape(result)}
        return Answer(made, headers(result))

    async def _was_this(
        self, error: RequestRepeatedError, actions: Container[str], about: set[str]
    ) -> bool:
        if error.namespace != self.registry.namespace:
            return False
        found = await self.registry.history.list(after=error.revision - 1, limit=1)
        return any(
            one.actor == self._caller.name
            and event.action in actions
            and about <= {event.subject, event.capsule_id}
            for one in found
            for event in one.events
        )


async def writing(
    request: Request,
    namespace: NamespaceName,
    reason: Annotated[
        str | None, Query(max_length=1_000, description="Why: recorded with the change.")
    ] = None,
    x_actor: Annotated[
        str | None,
        Header(max_length=200, description="For whom the caller acts: prefixed to the reason."),
    ] = None,
    idempotency_key: Annotated[
        UUID | None,
        Header(description="A UUID of this change: with it, it is done once, however often sent."),
    ] = None,
) -> Writer:
    """Return one who may change the namespace."""
    caller = require(request, namespace, Role.WRITER)
    registry = await _registry_of(request, namespace)
    why = ": ".join(filter(None, (x_actor, reason))) or None
    acting = AsyncActing(registry, caller.name or "", reason=why, request_id=idempotency_key)
    return Writer(registry, acting, caller)


Writing = Annotated[Writer, Depends(writing)]


def expected(
    if_match: Annotated[
        str | None,
        Header(
            description='The generation that must be registered, such as `"17"`; or `*`.',
            pattern=_GENERATION,
        ),
    ] = None,
) -> int | None:
    """Return the generation that the change is for, if one is named."""
    return None if if_match in (None, "*") else int(if_match.strip('"'))


Expected = Annotated[int | None, Depends(expected)]

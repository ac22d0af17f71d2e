"""The gate before the application: by what name it is called, by whom, and how large bodies are."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from capsule_registry.service import problems
from capsule_registry.service.limits import BODY_SECONDS, MOST_BODY
from capsule_registry.service.problems import RefusedError
from capsule_registry.service.tokens import ANYBODY, Tokens

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from capsule_registry.service.settings import Settings
    from capsule_registry.service.tokens import Caller

#: Paths that say nothing about what is registered, for whoever supervises the service.
_OPEN: Final = frozenset({"/livez", "/readyz"})
#: Its body is read line by line, and bounded there.
_STREAMED: Final = re.compile("/v1/namespaces/[^/]+/import")
#: What remains of a body that is not read any more is no request.
_LAST: Final = {"Connection": "close"}


class Gate:
    """
    Lets requests through to *app*, each with its `caller`.

    DNS rebinding is refused: a page of another site cannot have its own name lead here.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = {name.encode("ascii") for name in settings.hosts}
        self._tokens = None if settings.tokens is None else Tokens(settings.tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = dict(scope["headers"])
            self._require_host(headers.get(b"host", b""))
            authorization = headers.get(b"authorization")
            scope["caller"] = self._caller(scope["path"], authorization)
            scope["admit"] = partial(self._caller, scope["path"], authorization)
            is_streamed = scope["method"] == "POST" and _STREAMED.fullmatch(scope["path"])
            most = None if is_streamed else MOST_BODY
            body = Body(receive, headers.get(b"content-length"), most)
        except RefusedError as error:
            await problems.refusal(error)(scope, receive, send)
            return
        await self._app(scope, body.receive, send)

    def _require_host(self, host: bytes) -> None:
        if not self._hosts:
            return
        name = host.rpartition(b":")[0] if not host.endswith(b"]") and b":" in host else host
        if name.strip(b"[]").lower() not in self._hosts:
            raise RefusedError(
                HTTPStatus.MISDIRECTED_REQUEST, "the Host header names another service"
            )

    def _caller(self, path: str, authorization: bytes | None) -> Caller | None:
        if self._tokens is None:
            return ANYBODY
        if path in _OPEN:
            return None
        kind, _, token = (authorization or b"").partition(b" ")
        caller = self._tokens.caller(token.strip().decode("latin-1"))
        if kind.lower() != b"bearer" or caller is None:
            detail = "say who asks: Authorization: Bearer TOKEN"
            challenge = {"WWW-Authenticate": 'Bearer realm="capsule-registry"'}
            raise RefusedError(HTTPStatus.UNAUTHORIZED, detail, challenge)
        return caller


class Body:
    """The body of a request, as far as it may be long, and slow."""

    def __init__(self, receive: Receive, length: bytes | None, most: int | None) -> None:
        self._receive = receive
        self._left = most
        self._is_whole = False
        if length is not None and most is not None and (not length.isdigit() or int(length) > most):
            raise _too_large(most)

    async def receive(self) -> Message:
        """Return the next message of the server."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                message = await self._receive()
        except TimeoutError:
            detail = f"no more of the body came for {BODY_SECONDS:g} s"
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, detail, _LAST) from None
        self._is_whole = not message.get("more_body", False)
        if self._left is not None:
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise _too_large(MOST_BODY)
        return message


def _too_large(most: int) -> RefusedError:
    detail = f"the body has more than {most} bytes"
    return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, _LAST)

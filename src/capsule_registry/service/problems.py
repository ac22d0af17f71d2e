"""
Errors as `application/problem+json` (RFC 9457).

The library's own are told as they are, with their facts, but for those of a database: what that
said is logged here, and is none of the client's business.
"""

from __future__ import annotations

import json
import logging
import re
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

import capsule_registry as library
from capsule_registry.cli import exit_codes
from capsule_registry.plain_values import plain_text
from capsule_registry.service.limits import LONGEST_TOLD, MOST_TOLD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import ExceptionHandler

logger: Final = logging.getLogger("capsule_registry")

MEDIA_TYPE: Final = "application/problem+json"

#: The status of each branch of errors; the first match counts.
_STATUSES: Final = (
    (library.NotFoundError, HTTPStatus.NOT_FOUND),
    (library.StaleGenerationError, HTTPStatus.PRECONDITION_FAILED),
    (library.ConflictError, HTTPStatus.CONFLICT),
    (library.InvalidDatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (library.InvalidInputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (library.RevisionCompactedError, HTTPStatus.GONE),
    (library.RevisionError, HTTPStatus.CONFLICT),
    (library.RegistryUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (library.RegistryClosedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (library.SchemaVersionError, HTTPStatus.SERVICE_UNAVAILABLE),
    (library.HistoryCorruptError, HTTPStatus.SERVICE_UNAVAILABLE),
    (library.PermissionDeniedError, HTTPStatus.FORBIDDEN),
)
#: What an exit code of the command means.
_MEANINGS: Final = {
    exit_codes.PARTLY_FAILED: "partly failed",
    exit_codes.USAGE: "usage",
    exit_codes.NOT_FOUND: "not found",
    exit_codes.CONFLICT: "conflict",
    exit_codes.INVALID_INPUT: "invalid input",
    exit_codes.UNUSABLE_SCHEMA: "schema",
    exit_codes.UNAVAILABLE: "unavailable",
    exit_codes.HISTORY_CORRUPT: "history corrupt",
    exit_codes.NOT_PERMITTED: "not permitted",
    exit_codes.UNEXPECTED: "unexpected",
}
#: The exit code of the command for what only a service refuses.
_CODES: Final = {
    HTTPStatus.UNAUTHORIZED: exit_codes.NOT_PERMITTED,
    HTTPStatus.FORBIDDEN: exit_codes.NOT_PERMITTED,
    HTTPStatus.NOT_FOUND: exit_codes.NOT_FOUND,
    HTTPStatus.SERVICE_UNAVAILABLE: exit_codes.UNAVAILABLE,
    HTTPStatus.INTERNAL_SERVER_ERROR: exit_codes.UNEXPECTED,
}
#: What is told of errors whose facts are a database's or a host's own.
_UNTOLD: Final = {
    library.OutcomeUnknownError: "The change may have been made: ask for it before making it again",
    library.RegistryUnavailableError: "The database did not answer; nothing was changed",
    library.InvalidDatabaseError: "The database cannot be used",
    library.SchemaVersionError: "The database has another version of the schema",
    library.HistoryCorruptError: "What is stored is not what the registry wrote",
    library.PermissionDeniedError: "The database does not permit that",
    library.UnexpectedDatabaseError: "The database refused a statement",
}
#: Errors after which what a registry has seen may be void.
_VOIDING: Final = (
    library.DatabaseReplacedError,
    library.IncarnationChangedError,
    library.NamespaceNotFoundError,
)


class RefusedError(HTTPException):
    """What only a service refuses: the status, what is wrong, and headers that belong to it."""


def status_of(error: type[library.CapsuleRegistryError]) -> HTTPStatus:
    """Return the status by which errors of that class are told."""
    return next(
        (status for branch, status in _STATUSES if issubclass(error, branch)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def json_bytes(value: object) -> bytes:
    """Return *value* as JSON in ASCII, as the command prints it."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def of_error(error: library.CapsuleRegistryError) -> dict[str, Any]:
    """Return *error* as a problem, and log what it does not tell."""
    status = status_of(type(error))
    untold = next((text for kind, text in _UNTOLD.items() if isinstance(error, kind)), None)
    if untold is not None:
        logger.error("A request failed: %s", error)
    code = exit_codes.of_error(error)
    facts = {} if untold else {name: _plain(getattr(error, name)) for name in error.facts}
    return _problem(type(error).__name__, status, untold or str(error), code, facts)


def of_refusal(status: HTTPStatus, detail: str, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - any
    """Return what only a service refuses as a problem."""
    code = _CODES.get(status, exit_codes.USAGE)
    return _problem("Refused", status, detail, code, facts)


def _problem(
    name: str, status: HTTPStatus, detail: str, code: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "type": f"urn:capsule-registry:{name}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "error": name,
        "exit_code": code,
        "meaning": _MEANINGS[code],
        "facts": facts,
    }


def _plain(fact: object) -> Any:  # noqa: ANN401 - a JSON value
    """Return a fact of an error as a JSON value."""
    if fact is None or isinstance(fact, int):
        return fact
    if isinstance(fact, (list, tuple)):
        return [*map(_plain, fact)]
    text = plain_text(fact)
    return str(fact) if text is None else text


def answer(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that tells *problem*."""
    found = Response(json_bytes(problem), problem["status"], headers, MEDIA_TYPE)
    if problem["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
        found.headers.setdefault("Retry-After", "1")
    return found


def handle(app: FastAPI) -> None:
    """Let *app* tell every error as a problem."""
    app.add_exception_handler(library.CapsuleRegistryError, _on_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _on_http)  # type: ignore[arg-type]
    handlers: dict[type[Exception], Any] = {
        RefusedError: refusal,
        RequestValidationError: _on_malformed,
        ClientDisconnect: _on_departure,
        Exception: _on_bug,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, _handler(handler))


def _handler(function: Any) -> ExceptionHandler:  # noqa: ANN401 - of one kind of error
    async def handler(_: Request, error: Exception) -> Response:
        return function(error)  # type: ignore[no-any-return]

    return handler


async def _on_error(request: Request, error: library.CapsuleRegistryError) -> Response:
    namespace = request.path_params.get("namespace")
    if isinstance(error, _VOIDING) and namespace is not None:
        await request.app.state.registries.recheck(namespace)
    return answer(of_error(error))


def refusal(error: RefusedError) -> Response:
    """Return the response that tells *error*."""
    return answer(of_refusal(HTTPStatus(error.status_code), error.detail), error.headers)


def _on_malformed(error: RequestValidationError) -> Response:
    wrong = [*_told(error.errors())]
    where = "; ".join(f"{one['where']}: {one['message']}" for one in wrong[:5])
    return answer(of_refusal(HTTPStatus.UNPROCESSABLE_ENTITY, where, wrong=wrong))


def _told(errors: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, str]]:
    """Yield where each of *errors* is, and what is wrong, without the value."""
    for one in islice(errors, MOST_TOLD):
        where = ".".join(map(str, one["loc"]))
        yield {"where": where[:LONGEST_TOLD], "message": one["msg"][:LONGEST_TOLD]}


async def _on_http(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return answer(of_refusal(status, status.description or status.phrase), headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of the path, as they are described."""
    found: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, request.url.path):
            found |= {method.upper() for method in operations}
    return sorted(found)


def _on_departure(_: ClientDisconnect) -> Response:
    """Answer nobody: the client went away before its request was whole."""
    return answer(of_refusal(HTTPStatus.BAD_REQUEST, "the request ended early"))


def _on_bug(error: Exception) -> Response:
    logger.error("A request failed unexpectedly", exc_info=error)
    detail = "The service failed, which is a bug; its log tells more"
    return answer(of_refusal(HTTPStatus.INTERNAL_SERVER_ERROR, detail))

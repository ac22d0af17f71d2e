"""The description of the service for machines: every field, error and status."""

from __future__ import annotations

import inspect
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi

import capsule_registry as library
from capsule_registry.service.problems import MEDIA_TYPE, status_of

if TYPE_CHECKING:
    from fastapi import FastAPI

#: What only a service refuses, by status.
_REFUSALS: Final = {
    HTTPStatus.BAD_REQUEST: "The request cannot be read.",
    HTTPStatus.UNAUTHORIZED: "No token, or one that nobody has.",
    HTTPStatus.FORBIDDEN: "The token's role or namespace does not permit that.",
    HTTPStatus.NOT_FOUND: "There is no such path.",
    HTTPStatus.REQUEST_TIMEOUT: "The body came too slowly.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.MISDIRECTED_REQUEST: "The Host header names another service.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request is not as described here.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Too many follow already, or the service ends.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A bug.",
}
_FACTS_OF_TYPES: Final = {
    "int": {"type": "integer"},
    "int | None": {"type": ["integer", "null"]},
    "Sequence[str]": {"type": "array", "items": {"type": "string"}},
    "Sequence[int]": {"type": "array", "items": {"type": "integer"}},
    "object": {"type": ["string", "null"]},
    "str | None": {"type": ["string", "null"]},
}


def described(app: FastAPI) -> None:
    """Let *app* describe its errors too, the same for all paths."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            _add_problems(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_problems(schema: dict[str, Any]) -> None:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for leftover in ("HTTPValidationError", "ValidationError"):
        schemas.pop(leftover, None)
    schemas["Problem"] = _problem_schema()
    schemas["Lease"]["properties"]["ttl"].pop("format")  # It has fractions, which that has not.
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    components["responses"] = {str(status.value): _told(status) for status in _statuses()}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                _refuse_null(parameter)
            if path.startswith("/v1"):
                operation["security"] = [{"token": []}, {}]
            for status in _statuses():
                reference = {"$ref": f"#/components/responses/{status.value}"}
                operation["responses"][str(status.value)] = reference


def _refuse_null(parameter: dict[str, Any]) -> None:
    """Say of a parameter that may be missing no more than that: there is no null in a URL."""
    schema = parameter["schema"]
    given = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(given) == 1:
        del schema["anyOf"]
        parameter["schema"] = {**given[0], **schema}


def _errors() -> list[type[library.CapsuleRegistryError]]:
    found = (getattr(library, name) for name in library.__all__)
    return [
        one
        for one in found
        if inspect.isclass(one) and issubclass(one, library.CapsuleRegistryError)
    ]


def _statuses() -> list[HTTPStatus]:
    return sorted({*_REFUSALS, *map(status_of, _errors())})


def _told(status: HTTPStatus) -> dict[str, Any]:
    """Return how the answers of that status are described."""
    lines = [_REFUSALS[status]] if status in _REFUSALS else []
    lines += [
        f"- `{one.__name__}`: {(inspect.getdoc(one) or '').splitlines()[0]}"
        for one in _errors()
        if status_of(one) == status
    ]
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": "\n".join(lines),
        "content": {MEDIA_TYPE: {"schema": reference}},
    }


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    facts: dict[str, Any] = {
        "wrong": {
            "type": "array",
            "items": {"type": "object", "properties": {"where": text, "message": text}},
        }
    }
    for error in _errors():
        for name, annotation in vars(error).get("__annotations__", {}).items():
            if name in error.facts:
                kinds = facts.setdefault(name, {"anyOf": []})["anyOf"]
                if (kind := _FACTS_OF_TYPES.get(str(annotation), text)) not in kinds:
                    kinds.append(kind)
    properties = {
        "type": {"type": "string", "format": "uri"},
        "title": text,
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, and what to do."},
        "error": {"enum": ["Refused", *(one.__name__ for one in _errors())]},
        "exit_code": {"type": "integer", "description": "Of the command, for the same."},
        "meaning": {"type": "string", "description": "What that exit code means."},
        "facts": {"type": "object", "properties": facts, "additionalProperties": False},
    }
    return {
        "type": "object",
        "description": "An error, by RFC 9457.",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }

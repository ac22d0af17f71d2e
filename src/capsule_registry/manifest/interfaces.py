"""
`[imports]` and `[exports]`: the interfaces that a capsule needs from others and offers to them.

Written as `"ns:iface" = …` or as a table of a namespace, and kept as the latter. Source: astrid
010d22d.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from capsule_registry.manifest.part import ManifestPart, is_empty
from capsule_registry.manifest.semver import Requirement, SemverError, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import ValidatorFunctionWrapHandler


T = TypeVar("T")


class ImportDef(ManifestPart):
    """The versions of an interface that the capsule can use; without an optional one it works."""

    version: StrictStr
    optional: StrictBool = Field(default=False, exclude_if=is_empty)


class ExportDef(ManifestPart):
    """The exact version of an interface that the capsule offers."""

    version: StrictStr


def _bound(value: object, handler: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - Pydantic's own
    if isinstance(value, str):
        value = {"version": value}
    mismatch = PydanticCustomError(
        "untagged_mismatch", 'expected "VERSION" or { version = "VERSION" }'
    )
    if isinstance(value, list):
        raise mismatch
    try:
        return handler(value)
    except ValidationError:
        raise mismatch from None


def _versioned(parse: Callable[[str], object], rule: str, message: str) -> WrapValidator:
    """Return what binds an entry whose version *parse* takes."""

    def bind(value: object, handler: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401 - Pydantic's own
        bound = _bound(value, handler)
        try:
            parse(bound.version)
        except SemverError as error:
            context = {"version": bound.version, "error": str(error)}
            raise PydanticCustomError(rule, f"{message}: {{error}}", context) from None
        return bound

    return WrapValidator(bind)


def _nested(value: object) -> object:
    """Return the tables of namespaces, with each `"ns:iface"` in the table of its own."""
    if not isinstance(value, dict):
        return value
    nested: dict[str, Any] = {}
    for key, entry in value.items():
        namespace, colon, interface = key.partition(":")
        if not colon and not isinstance(entry, dict):
            message = f'expected "{key}:INTERFACE" = …, or a table of interfaces'
            raise PydanticCustomError("wrong_type", message)
        if colon and not (namespace and interface):
            raise PydanticCustomError("empty_interface", f'"{key}" names no interface')
        table = nested.setdefault(namespace, {})
        table.update({interface: entry} if colon else entry)
    return nested


_Import = Annotated[
    ImportDef,
    _versioned(Requirement.parse, "bad_import_version", "invalid version requirement '{version}'"),
]
_Export = Annotated[
    ExportDef,
    _versioned(
        Version.parse,
        "bad_export_version",
        "invalid version '{version}', expected MAJOR.MINOR.PATCH",
    ),
]
Imports = Annotated[dict[str, dict[str, _Import]], BeforeValidator(_nested)]
Exports = Annotated[dict[str, dict[str, _Export]], BeforeValidator(_nested)]


def by_interface(tables: Mapping[str, Mapping[str, T]]) -> list[tuple[str, T]]:
    """Return the entries of the tables of namespaces as `ns:name`, sorted by that."""
    named = (
        (f"{namespace}:{name}", entry)
        for namespace, table in tables.items()
        for name, entry in table.items()
    )
    return sorted(named, key=itemgetter(0))

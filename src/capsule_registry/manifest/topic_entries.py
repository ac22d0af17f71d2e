"""
The entries of `[publish]` and `[subscribe]`: what stands behind a topic or pattern.

Source: astrid 010d22d. Any text may name a WIT record; whatever else is wrong is one error, but for
two that have their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field, StrictBool, StrictInt, StrictStr, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from capsule_registry.manifest.part import ManifestPart, is_empty, is_none
from capsule_registry.manifest.parts import LAST_PRIORITY

if TYPE_CHECKING:
    from pydantic import ValidationInfo, ValidatorFunctionWrapHandler

#: What may pin the version of a record, at most one of them.
PINS: Final = ("version", "tag", "rev", "branch", "path")
_SHAPE: Final = (
    'expected "REFERENCE" or { wit = "REFERENCE" }; a key with dots is quoted, as in'
    ' "a.b" = "REFERENCE"'
)
#: Neither in a table nor in an array need it be there.
_Pin = Annotated[StrictStr | None, Field(default_factory=lambda: None, exclude_if=is_none)]


class _TopicEntry(ManifestPart):
    wit: StrictStr
    version: _Pin
    tag: _Pin
    rev: _Pin
    branch: _Pin
    path: _Pin


class PublishDef(_TopicEntry):
    """A topic that the capsule may publish, and the record that it then sends."""

    fanout: StrictBool = Field(default=False, exclude_if=is_empty)


class SubscribeDef(_TopicEntry):
    """A topic that the capsule may subscribe to, and what is called for it, if anything."""

    read_if: ClassVar[Mapping[str, str]] = {"priority": "table_rights"}

    handler: _Pin
    priority: Annotated[
        Annotated[StrictInt, Field(ge=0, le=LAST_PRIORITY)] | None,
        Field(default_factory=lambda: None, exclude_if=is_none),
    ]


def _bound(value: object, handler: ValidatorFunctionWrapHandler, _: ValidationInfo) -> Any:  # noqa: ANN401 - Pydantic's own
    """Bind an entry: a text alone, a table, or an array of a table's values."""
    if isinstance(value, str):
        value = {"wit": value}
    try:
        entry = handler(value)
    except ValidationError:
        raise PydanticCustomError("untagged_mismatch", _SHAPE) from None
    pins = [name for name in PINS if getattr(entry, name) is not None]
    if len(pins) > 1:
        raise PydanticCustomError("two_pins", f"expected one of {', '.join(pins)}")
    has_priority = isinstance(entry, SubscribeDef) and entry.priority is not None
    if has_priority and entry.handler is None:
        raise PydanticCustomError(
            "priority_without_handler", "a priority needs a `handler` that is called by it"
        )
    return entry


Published = Annotated[PublishDef, WrapValidator(_bound)]
Subscribed = Annotated[SubscribeDef, WrapValidator(_bound)]

"""
Which of a document's errors is reported: the one that the original meets first.

The original binds while it reads, so the first offending key in document order wins, and a missing
key is noticed at the end of its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

#: Errors that are rules of their own.
_RULES: Final = frozenset(
    {
        *("bad_export_version", "bad_import_version", "duplicate_field", "empty_interface"),
        *("priority_without_handler", "toml_syntax", "two_pins", "untagged_mismatch"),
    }
)
_SENTENCES: Final = {"tuple_type": "expected a list", "model_type": "expected a table"}
_RULES_BY_FIELD: Final = {
    "profile": "bad_profile",
    "direction": "bad_topic_direction",
    "kind": "bad_command_kind",
}


def first_error(error: ValidationError, document: dict[str, Any]) -> tuple[str, str]:
    """Return the rule and the message of the first error in *document*."""
    orders: dict[int, dict[str, int]] = {}
    details = min(
        error.errors(include_url=False, include_context=False),
        key=lambda details: _document_position(details["loc"], document, orders),
    )
    place = ".".join(str(part) for part in details["loc"]) or "the document"
    return _rule(details), f"{place}: {_SENTENCES.get(details['type'], details['msg'])}"


def _rule(details: ErrorDetails) -> str:
    if details["type"] == "enum":
        return _RULES_BY_FIELD[str(details["loc"][-1])]
    if details["type"] == "missing":
        return "missing_field"
    return details["type"] if details["type"] in _RULES else "wrong_type"


def _document_position(
    location: Sequence[int | str], document: object, orders: dict[int, dict[str, int]]
) -> tuple[int, ...]:
    """Return the position of *location* in reading order; a missing key is last in its table."""
    position: list[int] = []
    for part in location:
        if isinstance(document, dict):
            if id(document) not in orders:
                orders[id(document)] = {key: place for place, key in enumerate(document)}
            order = orders[id(document)]
            position.append(order.get(str(part), len(order)))
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int):
            position.append(part)
            document = document[part] if part < len(document) else None
    return tuple(position)

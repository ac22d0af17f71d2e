"""Identifiers: capsule ids, uplink ids, UUIDs and namespace names."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from functools import lru_cache
from operator import index
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from pydantic_core import core_schema

from capsule_registry.errors import (
    InvalidCapsuleIdError,
    InvalidTextError,
    InvalidUuidError,
)
from capsule_registry.plain_values import plain_text, plain_uuid

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

#: The longest capsule id that every database can store.
MAX_ID_LENGTH: Final = 128

_CAPSULE_ID = re.compile(r"[a-z0-9-]+", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class CapsuleId(str):
    """
    A capsule's id: one or more of `a-z`, `0-9` and `-`, compared as exact text.

    Raises:
        InvalidCapsuleIdError: The text is empty or has any other character.

    Source: astrid-capsule 0.2.0 `CapsuleId::new`. Length is bounded where an id is stored.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Validate *text*."""
        plain = plain_text(text)
        if plain is None:
            raise InvalidCapsuleIdError(repr(text), f"capsule id must be text, got: {text!r}")
        if not plain:
            raise InvalidCapsuleIdError(plain, "capsule id must not be empty")
        if not is_capsule_id(plain):
            reason = (
                "capsule id must contain only lowercase alphanumeric characters and hyphens, "
                f"got: {plain}"
            )
            raise InvalidCapsuleIdError(plain, reason)
        return super().__new__(cls, plain)

    @classmethod
    def storable(cls, text: str) -> Self:
        """Return *text* as an id that is short enough to be stored (128 characters)."""
        capsule_id = cls(text)
        if len(capsule_id) > MAX_ID_LENGTH:
            reason = f"capsule id must be at most {MAX_ID_LENGTH} characters, got {len(text)}"
            raise InvalidCapsuleIdError(text, reason)
        return capsule_id

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(strict=True)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": "^[a-z0-9-]+$", "maxLength": MAX_ID_LENGTH}


@lru_cache(maxsize=4096)
def known_id(text: str) -> CapsuleId:
    """Return *text*, such as a row's, as a `CapsuleId`, cached."""
    return CapsuleId(text)


def optional_id(text: str | None) -> CapsuleId | None:
    """Return *text*, if any, as a `CapsuleId`; raises as that does."""
    return None if text is None else CapsuleId(text)


def is_capsule_id(text: str) -> bool:
    """Return whether *text* matches the grammar of capsule ids."""
    return _CAPSULE_ID.fullmatch(text) is not None


class UplinkId(UUID):
    """An uplink's id: a UUID, shown hyphenated in lower case; in JSON a bare string."""

    @classmethod
    def new(cls) -> Self:
        """Return a new id; of two made in different milliseconds, the later is greater."""
        return cls(int=uuid7().int)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda value: cls(int=to_uuid(value).int), core_schema.uuid_schema()
        )


def uuid7() -> UUID:
    """
    Return a time-ordered UUID: 48 bits of Unix milliseconds, then 74 random bits.

    Source: RFC 9562 §5.7 (the standard library has it from Python 3.14 on).
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value)


def to_uuid(value: object) -> UUID:
    """
    Return *value* as a UUID; text must have the canonical 36-character form.

    Raises:
        InvalidUuidError: It is anything else.
    """
    text = plain_text(value)
    if text is not None and _UUID.fullmatch(text):
        return UUID(text)
    if text is not None or (uuid := plain_uuid(value)) is None:
        raise InvalidUuidError(value)
    return uuid


def to_generation(expected: int | None) -> int | None:
    """
    Return the generation that a caller expects, if any.

    Raises:
        TypeError: It is no integer.
    """
    return None if expected is None else index(expected)


def to_namespace(text: str) -> str:
    """
    Return *text*, the name of a namespace.

    Raises:
        InvalidTextError: It is not 1 to 63 characters of `a-z`, `0-9` and `-`.
    """
    plain = plain_text(text)
    if plain is None or not _NAMESPACE.fullmatch(plain):
        message = f"{text!r} is not 1 to 63 characters of a-z, 0-9 and '-'"
        raise InvalidTextError("namespace", "grammar", message)
    return plain


def quoted(character: str) -> str:
    """Return a character as Rust's debug format shows it between quotes."""
    named = {"\t": r"\t", "\r": r"\r", "\n": r"\n", "\0": r"\0", "\\": r"\\"}
    if character in named:
        return named[character]
    if character.isprintable() and not unicodedata.category(character).startswith("M"):
        return character
    return f"\\u{{{ord(character):x}}}"

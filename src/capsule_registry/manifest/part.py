"""
The base of all tables of a manifest: which of their keys are read, and how.

Field order is that of the original, because a table may also be written as an array of its values.
A default of `None` marks what may be absent from a table but not from such an array; any other
default may be absent from both. Unknown keys are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from capsule_registry.manifest.readings import Reading

if TYPE_CHECKING:
    from pydantic import ValidatorFunctionWrapHandler


def is_none(value: object) -> bool:
    """Return whether *value*, of a field that came later, is left out of the JSON form."""
    return value is None


def is_empty(value: object) -> bool:
    """Return likewise whether *value* is empty or false."""
    return not value


@lru_cache(maxsize=1024)
def _unread(part: type[ManifestPart], reading: Reading) -> AbstractSet[str]:
    """Return the keys of *part* that *reading* does not read."""
    names = [name for name in part.read_if if not part._is_read(name, reading)]  # noqa: SLF001 - of the same module
    return frozenset(key for name in names for key in part._keys(name))  # noqa: SLF001


#: What a lenient reading takes only if its shape is right.
_LENIENT: Final = frozenset({"topic_arrays", "interceptors"})


class ManifestPart(BaseModel):
    """
    The base of all tables of a manifest.

    Validated with a `Reading` as its context, a part leaves unread what that does not read: such a
    key is kept as an unknown one, whatever its shape. Without a context everything is read.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        validate_by_alias=True,
        validate_by_name=True,
        defer_build=True,
    )

    #: By field: the member of `Reading` without which it is not read.
    read_if: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _read(
        cls, value: object, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Self:
        reading = info.context if isinstance(info.context, Reading) else None
        if isinstance(value, list):
            value = cls._from_array(value, reading)
        if reading is None or not isinstance(value, dict):
            part: Self = handler(value)
            return part
        unread = _unread(cls, reading)
        try:
            return cls._leaving(unread, value, handler)
        except ValidationError as error:
            wrong = {details["loc"][0] for details in error.errors() if details["loc"]}
            odd = cls._lenient_keys(reading) & wrong
            if not odd:
                raise
            return cls._leaving({*unread, *map(str, odd)}, value, handler)

    @classmethod
    def _leaving(
        cls, unread: AbstractSet[str], value: dict[str, Any], handler: ValidatorFunctionWrapHandler
    ) -> Self:
        """Bind a table but for its keys that are *unread*, which become unknown ones."""
        if unread.isdisjoint(value):
            bound: Self = handler(value)
            return bound
        part: Self = handler({key: one for key, one in value.items() if key not in unread})
        extra = part.__pydantic_extra__
        assert extra is not None  # noqa: S101 - the configuration says so
        extra.update({key: one for key, one in value.items() if key in unread})
        return part

    @classmethod
    def _from_array(cls, value: list[Any], reading: Reading | None) -> dict[str, Any]:
        """Read the array form of a table: values by position, extra ones ignored."""
        fields = {
            name: field
            for name, field in cls.model_fields.items()
            if reading is None or cls._is_read(name, reading)
        }
        needed = [
            number
            for number, field in enumerate(fields.values(), start=1)
            if field.is_required() or (field.default is None and not field.default_factory)
        ]
        if len(value) < max(needed, default=0):
            raise PydanticCustomError(
                "wrong_type",
                "invalid length {length}, expected {table} with {count} elements",
                {"length": len(value), "table": cls.__name__, "count": len(fields)},
            )
        return dict(zip((cls._keys(name)[0] for name in fields), value, strict=False))

    @classmethod
    def _is_read(cls, name: str, reading: Reading) -> bool:
        return name not in cls.read_if or bool(getattr(reading, cls.read_if[name]))

    @classmethod
    def _lenient_keys(cls, reading: Reading) -> set[int | str]:
        if not reading.is_lenient:
            return set()
        names = [name for name, part in cls.read_if.items() if part in _LENIENT]
        return {key for name in names for key in cls._keys(name)}

    @classmethod
    def _keys(cls, name: str) -> list[str]:
        """Return the keys that a field may have, the usual one first."""
        alias = cls.model_fields[name].validation_alias
        if isinstance(alias, AliasChoices):
            return [str(choice) for choice in alias.choices]
        return [alias if isinstance(alias, str) else name]

"""Anchors: a position in a history and its hash, kept where the database cannot be reached."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from capsule_registry.canonical_json import canonical_json
from capsule_registry.errors import InvalidTextError


class Anchor(BaseModel):
    """
    The hash that the whole history of a namespace up to `revision` leads to.

    Kept elsewhere, it shows whether that history was rewritten or cut off since. As text it is one
    line of JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str
    incarnation: UUID
    revision: int = Field(ge=1)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the anchor that `str` made *text* of.

        Raises:
            InvalidTextError: It is none.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidTextError("anchor", "grammar", error.errors()[0]["msg"]) from error

    def __str__(self) -> str:
        return canonical_json(self.model_dump(mode="json"))

"""The questions that hosts ask on every message: who is that, and may they."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import Body, Query
from pydantic import BaseModel, ConfigDict, Field

from capsule_registry import Grant
from capsule_registry.api import json_shapes
from capsule_registry.service.access import OfCapsule, View
from capsule_registry.service.answers import Answer, each, ok
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import Decisions, Resolutions

#: The most questions in one request.
_MOST: Final = 500

router: Final = strict_router("decisions")


class Question(BaseModel):
    """May the sender with this session UUID do that?"""

    model_config = ConfigDict(extra="forbid")

    uuid: str
    capability: str = Field(examples=["ipc_publish"])
    value: str | None = None


class Sender(BaseModel):
    """The session UUID that a message is stamped with."""

    model_config = ConfigDict(extra="forbid")

    uuid: UUID


@router.post("/check", responses=ok(Decisions, "Decided."))
async def check(
    view: View,
    asked: Annotated[Question | Annotated[list[Question], Field(max_length=_MOST)], Body()],
) -> Answer:
    """
    Decide whether the sender of a message may do something, and why; or many such, at one moment.

    An object is answered by an object, a list by a list in its order. Whatever is wrong with a
    question denies it. An answer that is no 200 allows nothing.
    """
    if isinstance(asked, Question):
        return Answer(
            json_shapes.by_fields(await view.check(asked.uuid, asked.capability, asked.value))
        )
    return each(await view.check_many([(one.uuid, one.capability, one.value) for one in asked]))


@router.post("/resolve", responses=ok(Resolutions, "Looked up."))
async def resolve(
    view: View, asked: Annotated[Sender | Annotated[list[Sender], Field(max_length=_MOST)], Body()]
) -> Answer:
    """Return the id that a session UUID is filed under, or null; or those of many."""
    senders = [asked] if isinstance(asked, Sender) else asked
    found = [
        {"uuid": str(one.uuid), "capsule_id": await view.find_by_uuid(one.uuid)} for one in senders
    ]
    return Answer(found[0] if isinstance(asked, Sender) else found)


@router.get("/grants", responses=ok(list[Grant]))
async def grants(
    view: View,
    capability: Annotated[str | None, Query(description="Such as ipc_publish.")] = None,
    value: Annotated[str | None, Query(description="Only those that allow this.")] = None,
    capsule_id: OfCapsule = None,
) -> Answer:
    """List what capsules may do, or who may do something."""
    return each(await view.grants(capability=capability, value=value, capsule_id=capsule_id))

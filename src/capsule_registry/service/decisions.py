"""The questions that hosts ask on every message: who is that, and may they."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Body, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from capsule_registry import Decision, Grant
from capsule_registry.service.access import (
    AT_DESCRIBED,
    NAMESPACE_DESCRIBED,
    OfCapsule,
    View,
    viewed,
)
from capsule_registry.service.answers import Answer, each, ok
from capsule_registry.service.routing import refuse_unknown, strict_router
from capsule_registry.service.shapes import Decisions, Resolutions

#: The most questions in one request.
_MOST: Final = 500
_UUID: Final = {"type": "string", "description": "A UUID; what is none is denied."}

router: Final = strict_router("decisions")


class Question(BaseModel):
    """May the sender with this session UUID do that?"""

    model_config = ConfigDict(extra="forbid")

    uuid: Annotated[UUID | str, Field(union_mode="left_to_right"), WithJsonSchema(_UUID)]
    capability: str = Field(examples=["ipc_publish"])
    value: str | None = None


class Sender(BaseModel):
    """The session UUID that a message is stamped with."""

    model_config = ConfigDict(extra="forbid")

    uuid: UUID


Questions = Question | Annotated[list[Question], Field(max_length=_MOST)]
_QUESTIONS: Final[TypeAdapter[Question | list[Question]]] = TypeAdapter(Questions)
_QUESTION_SCHEMA: Final = Question.model_json_schema()
_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [
                    _QUESTION_SCHEMA,
                    {"type": "array", "items": _QUESTION_SCHEMA, "maxItems": _MOST},
                ]
            }
        }
    },
}
_KNOWN: Final = frozenset({"at"})
_DECISION: Final = TypeAdapter(Decision)
_DECISIONS: Final = TypeAdapter(list[Decision])


@router.post(
    "/check",
    responses=ok(Decisions, "Decided."),
    openapi_extra={"requestBody": _BODY, "parameters": [NAMESPACE_DESCRIBED, AT_DESCRIBED]},
)
async def check(request: Request) -> Answer:
    """
    Decide whether the sender of a message may do something, and why; or many such, at one moment.

    An object is answered by an object, a list by a list in its order. Whatever is wrong with a
    question denies it. An answer that is no 200 allows nothing.
    """
    # It is asked on every message, so it does by hand what others leave to FastAPI.
    at = None
    if request.scope["query_string"]:
        refuse_unknown(request, _KNOWN)
        at = request.query_params.get("at")
    view = await viewed(request, request.path_params["namespace"], at)
    asked = _parsed(await request.body())
    if isinstance(asked, Question):
        found = await view.check(asked.uuid, asked.capability, asked.value)
        return Answer(_DECISION.dump_json(found))
    questions = [(one.uuid, one.capability, one.value) for one in asked]
    return Answer(_DECISIONS.dump_json(await view.check_many(questions)))


def _parsed(body: bytes) -> Question | list[Question]:
    try:
        return _QUESTIONS.validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        located = [{**one, "loc": ("body", *one["loc"])} for one in wrong]
        raise RequestValidationError(located) from error


@router.post("/resolve", responses=ok(Resolutions, "Looked up."))
async def resolve(
    view: View, asked: Annotated[Sender | Annotated[list[Sender], Field(max_length=_MOST)], Body()]
) -> Answer:
    """Return the id that a session UUID is filed under, or null; or those of many."""
    senders = [asked] if isinstance(asked, Sender) else asked
    owners = await asyncio.gather(*(view.find_by_uuid(one.uuid) for one in senders))
    found = [
        {"uuid": str(sender.uuid), "capsule_id": owner}
        for sender, owner in zip(senders, owners, strict=True)
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

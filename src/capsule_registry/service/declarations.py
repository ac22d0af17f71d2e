"""What manifests declare: tools, commands, topics, interfaces, dependencies, artifacts."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

from capsule_registry import (
    Artifact,
    BootOrder,
    Command,
    CommandKind,
    Dependency,
    Export,
    NotFoundError,
    Provision,
    Route,
    Tool,
)
from capsule_registry.api import json_shapes
from capsule_registry.service.access import IdInPath, OfCapsule, View
from capsule_registry.service.answers import Answer, each, ok
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import Catalogue, HandlerCall, InterceptorAction, Party

router: Final = strict_router("declared")

Topic = Annotated[str, Query(description="The topic of a message, such as `chat.v1.said`.")]


@router.get("/tools", responses=ok(list[Tool]))
async def tools(
    view: View,
    name: Annotated[str | None, Query(description="Only those called this.")] = None,
    capsule_id: OfCapsule = None,
) -> Answer:
    """List the tools of all capsules or of one, or every tool of a name."""
    if name is None:
        return each(await view.tools(capsule_id))
    found = await view.find_tool(name)
    return each(one for one in found if capsule_id in (None, one.capsule_id))


@router.get("/capsules/{capsule_id}/tool-catalogue", responses=ok(Catalogue))
async def tool_catalogue(view: View, capsule_id: IdInPath) -> Answer:
    """Return whether the capsule's tools are known, unknown until it runs, or none."""
    return Answer({"tool_catalogue": (await view.tool_catalogue(capsule_id)).value})


@router.get("/commands", responses=ok(list[Command]))
async def commands(view: View, kind: CommandKind | None = None) -> Answer:
    """List the commands of all capsules, ready or not, in the order of registration."""
    return each(await view.commands(kind=kind))


@router.get("/commands/{verb}", responses=ok(Command))
async def command(view: View, verb: str) -> Answer:
    """Return the command of a shell called *verb*, of the capsules that are ready."""
    if (found := await view.find_command(verb)) is None:
        raise NotFoundError
    return Answer(json_shapes.by_fields(found))


@router.get("/routes", responses=ok(list[Route]))
async def routes(view: View, capsule_id: OfCapsule = None) -> Answer:
    """List who publishes and hears what, or what one capsule does."""
    return each(await view.routes.list(capsule_id))


@router.get("/routes/called", responses=ok(list[HandlerCall]))
async def called(view: View, topic: Topic) -> Answer:
    """List whom a message of a topic calls, in the order of the calls."""
    return each(await view.routes.called(topic), json_shapes.call)


@router.get("/routes/publishers", responses=ok(list[Party]))
async def publishers(view: View, topic: Topic) -> Answer:
    """List the capsules that may publish a topic."""
    return each(await view.routes.publishers(topic), json_shapes.party)


@router.get("/routes/subscribers", responses=ok(list[Party]))
async def subscribers(view: View, topic: Topic) -> Answer:
    """List the capsules that hear a topic."""
    return each(await view.routes.subscribers(topic), json_shapes.party)


@router.get("/routes/unheard", responses=ok(list[Route]))
async def unheard(view: View) -> Answer:
    """List what is published and nobody subscribes to, as far as patterns tell."""
    return each(await view.routes.unheard())


@router.get("/routes/unsaid", responses=ok(list[Route]))
async def unsaid(view: View) -> Answer:
    """List what is subscribed to and nobody publishes, as far as patterns tell."""
    return each(await view.routes.unsaid())


@router.get("/interceptors", responses=ok(list[InterceptorAction]))
async def interceptors(view: View, topic: Topic) -> Answer:
    """List the interceptors of an event, of the capsules that are ready."""
    return each(await view.interceptors(topic), json_shapes.interceptor)


@router.get("/providers", responses=ok(list[Provision]))
async def providers(
    view: View,
    capability: Annotated[str, Query(description="A requirement, such as `topic:llm.*`.")],
    version: Annotated[str, Query(description="Of an interface: the versions that will do.")] = "*",
) -> Answer:
    """List all who offer what meets a requirement."""
    return each(await view.providers(capability, version=version))


@router.get("/exports", responses=ok(list[Export]))
async def exports(view: View) -> Answer:
    """List the interfaces that capsules export."""
    return each(await view.exports())


@router.get("/dependencies", responses=ok(list[Dependency]))
async def dependencies(view: View) -> Answer:
    """List each requirement and import of each capsule with its providers."""
    return each(await view.dependencies())


@router.get("/unmet", responses=ok(list[Dependency]))
async def unmet(view: View, required: bool | None = None) -> Answer:  # noqa: FBT001 - of the query
    """List the requirements and imports that nobody meets: all, those required, or the others."""
    return each(await view.unmet(required=required))


@router.get("/boot-order", responses=ok(BootOrder))
async def boot_order(view: View) -> Answer:
    """Return the ids in the order in which capsules start, what is unmet, and any cycle."""
    return Answer(json_shapes.by_fields(await view.boot_order()))


@router.get("/artifacts", responses=ok(list[Artifact]))
async def artifacts(
    view: View,
    hash: Annotated[str, Query(description="As manifests write it: `blake3:…`.")],  # noqa: A002 - its name
) -> Answer:
    """List the components and assets with that hash."""
    return each(await view.find_artifact(hash))

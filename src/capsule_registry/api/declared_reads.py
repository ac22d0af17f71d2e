"""The read methods on what manifests declare: tools, commands, topics, interfaces, artifacts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from capsule_registry.api.routes import Routes
from capsule_registry.entities import artifacts, commands, dependencies, interfaces, tools
from capsule_registry.identifiers import CapsuleId, optional_id
from capsule_registry.manifest.parts import to_command_kind
from capsule_registry.manifest.semver import to_requirement
from capsule_registry.models.storable import required_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry.manifest.parts import CommandKind
    from capsule_registry.manifest.tools import ToolCatalogue
    from capsule_registry.models.declarations import Artifact, Command, Export
    from capsule_registry.models.records import (
        BootOrder,
        Dependency,
        Interceptor,
        Provision,
        Tool,
    )
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.registered_objects import RegisteredObjects

P = ParamSpec("P")
T = TypeVar("T")


class DeclaredReads(ABC):
    """
    The read methods on what manifests declare.

    Capsules that an earlier release has registered have no commands, imports, exports or artifacts
    here until `RegistryAdmin.rederive` reads their manifests anew.
    """

    _objects: RegisteredObjects

    @abstractmethod
    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `work(scope, *args, **kwargs)`."""

    def _read_at_one_moment(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the same for work of several statements, which all see one moment."""
        return self._read(work, *args, **kwargs)

    # Tools and commands

    def tools(self, capsule_id: str | None = None) -> list[Tool]:
        """
        Return the tools of all capsules, or of one.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        return self._read(tools.list_all, optional_id(capsule_id))

    def find_tool(self, name: str) -> list[Tool]:
        """Return every tool called *name*; several capsules may offer one."""
        return self._read(tools.find, required_text("tool name", name))

    def tool_catalogue(self, capsule_id: str) -> ToolCatalogue:
        """
        Return whether the capsule's tools are known, unknown until it runs, or none.

        Raises:
            CapsuleNotFoundError: It is not registered.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        return self._read_at_one_moment(tools.catalogue, CapsuleId(capsule_id))

    def commands(self, *, kind: CommandKind | str | None = None) -> list[Command]:
        """
        Return the commands of all capsules, ready or not, in registration order.

        Raises:
            InvalidTextError: *kind* is neither `slash` nor `cli`.
        """
        wanted = None if kind is None else to_command_kind(kind)
        return self._read(commands.list_all, wanted)

    def find_command(self, verb: str) -> Command | None:
        """
        Return the command of a shell called *verb* of the capsules that are ready, or `None`.

        Its capsule is asked for it on `cli.v1.command.run.ID`. Source: astrid 010d22d.

        Raises:
            AmbiguousCommandError: There are several, be it of one capsule.
        """
        return self._read(commands.find, required_text("command", verb))

    # Topics

    @property
    def routes(self) -> Routes:
        """Who talks to whom: who is called for a topic, who publishes it, who subscribes."""
        return Routes(self._read, self._objects)

    def interceptors(self, topic: str) -> list[Interceptor]:
        """
        Return the interceptors of an event of *topic*: capsule id, action, instance.

        These are all interceptors of ready capsules whose pattern covers the topic, in registration
        order; one capsule may have several. Source: astrid-capsule 0.2.0 `dispatcher`.
        """
        called = self._read(dependencies.called_by, required_text("topic", topic))
        return [*map(self._objects.interceptor, called)]

    # Dependencies

    def providers(self, capability: str, *, version: str = "*") -> list[Provision]:
        """
        Return all provisions that satisfy the requirement *capability*, in registration order.

        Such as `topic:a.*`; see `capability_matches`. Or all exports of an interface, such as
        `astrid:llm`, in a *version* that meets these requirements.

        Raises:
            InvalidTextError: *version* is no requirement by Cargo's rules.
        """
        wanted = to_requirement(version)
        return self._read(dependencies.providers, required_text("capability", capability), wanted)

    def exports(self) -> list[Export]:
        """Return the interfaces that capsules export, in registration order."""
        return self._read(interfaces.list_exports)

    def dependencies(self) -> list[Dependency]:
        """Return each requirement and import of each capsule with its providers, in order."""
        return self._read_at_one_moment(dependencies.list_all)

    def unmet(self, *, required: bool | None = None) -> list[Dependency]:
        """
        Return the requirements and imports that nobody provides, in registration order.

        Args:
            required: Only those without which a capsule does not work, or only the optional ones.
        """
        return self._read_at_one_moment(dependencies.unmet, required=required)

    def boot_order(self) -> BootOrder:
        """Return the start order of the capsules, the unmet requirements, and any cycle."""
        return self._read_at_one_moment(dependencies.boot_order)

    # Artifacts

    def find_artifact(self, hash: str) -> list[Artifact]:  # noqa: A002 - its name
        """Return the components and assets with that *hash*, as manifests write it: `blake3:…`."""
        return self._read(artifacts.find, required_text("hash", hash))

"""Administration of namespaces: what there is, creation, removal, and by which rules they judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from capsule_registry.clocks import Clock
from capsule_registry.entities import rederivation
from capsule_registry.errors import (
    NamespaceInUseError,
    NamespaceNotFoundError,
    RuntimeVersionError,
)
from capsule_registry.identifiers import CapsuleId, to_namespace
from capsule_registry.manifest.readings import to_runtime_version
from capsule_registry.schema.upgrade import prepare
from capsule_registry.schema.version import find_schema
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.head import close_unit, is_committed, open_unit
from capsule_registry.unit_of_work.queries import Scope
from capsule_registry.unit_of_work.runner import default_actor, recordable

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database
    from capsule_registry.models.rights_change import RightsChange
    from capsule_registry.unit_of_work.unit import Unit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NamespaceStatus:
    """A namespace and its head; kept elsewhere, the head is what a later history is checked by."""

    name: str
    incarnation: UUID
    revision: int
    head_hash: str
    runtime_version: str | None
    capsule_count: int


class NamespaceAdmin:
    """The verbs of `RegistryAdmin` on namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock = Clock(is_hosts=database.dialect.has_hosts_clock)

    def namespaces(self) -> list[NamespaceStatus]:
        """Return the namespaces, sorted by name."""
        self._require_schema()
        return [NamespaceStatus(**row) for row in self._database.read(namespaces.list_all)]

    def create_namespace(
        self, name: str, *, runtime_version: str | None = None, actor: str | None = None
    ) -> None:
        """
        Create the namespace *name*, of that runtime if one is named, unless it exists.

        Raises:
            InvalidTextError: *name* is not 1 to 63 characters of `a-z`, `0-9` and `-`, or
                *runtime_version* no version.
            RuntimeVersionError: It exists, and is of another runtime than the one named.
            SchemaVersionError: This library cannot run on the schema; on a server, also none.
        """
        wanted, runtime = to_namespace(name), to_runtime_version(runtime_version)
        by, _ = recordable(actor, None)
        prepare(self._database, migrate=None)

        def create(conn: Connection) -> None:
            unit = namespaces.create(conn, wanted, self._clock, self._database.dialect, runtime)
            if runtime not in (None, unit.runtime_version):
                raise RuntimeVersionError(wanted, runtime, unit.runtime_version)
            close_unit(unit, actor=by or default_actor(), reason=None)

        with self._database.translating():
            self._database.write(create)

    def drop_namespace(self, name: str, *, force: bool = False) -> NamespaceStatus:
        """
        Delete the namespace with all that is registered in it and all its history.

        Returns:
            Its last status; the head in it is the last anchor there will be.

        Raises:
            NamespaceNotFoundError: There is no namespace of that name.
            NamespaceInUseError: Capsules are registered in it, and *force* is not set.
        """
        name = to_namespace(name)
        prepare(self._database, migrate=None)
        last: NamespaceStatus | None = None

        def drop(conn: Connection) -> NamespaceStatus:
            nonlocal last
            try:
                unit = open_unit(conn, name, self._clock, self._database.dialect)
            except NamespaceNotFoundError:
                if last is None:
                    raise
                return last  # An earlier attempt dropped it; its COMMIT was not acknowledged.
            found = next(row for row in namespaces.list_all(conn) if row["name"] == name)
            last = NamespaceStatus(**found)
            if last.capsule_count and not force:
                raise NamespaceInUseError(name, last.capsule_count)
            namespaces.drop(unit)
            return last

        return self._database.write(drop)

    def set_runtime(
        self,
        name: str,
        version: str | None,
        *,
        dry_run: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[RightsChange]:
        """
        Read and judge every capsule of the namespace by that runtime's rules from now on.

        All projections are derived again, in one revision; generations, sessions and states stay.

        Args:
            name: The namespace.
            version: Of the runtime, such as `2026.9.4`; `None`: each in its own form again.
            dry_run: Return what would change, and change nothing.
            actor: Recorded with the revision.
            reason: Recorded likewise.

        Returns:
            What each capsule gains and loses, in order of registration.

        Raises:
            NamespaceNotFoundError: There is no namespace of that name.
            InvalidTextError: *version* is none.
            RuntimeRefusedError: That runtime refuses registered manifests; nothing was changed. A
                dry run returns the problems instead.
        """
        runtime = to_runtime_version(version)
        if dry_run:
            return self._look(name, lambda scope: rederivation.plan(scope, runtime))

        def work(unit: Unit) -> tuple[Unit, list[RightsChange]]:
            changed = unit
            if unit.runtime_version != runtime:
                changed = namespaces.set_runtime(unit, runtime)
            return changed, rederivation.apply(changed)

        return self._change(name, work, actor, reason)

    def rederive(
        self,
        name: str,
        *,
        capsule_id: str | None = None,
        dry_run: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[RightsChange]:
        """
        Read the stored manifests anew, in one revision: what earlier releases did not understand.

        Each in its own form, or all as the namespace's runtime. What its own form refuses stays as
        it is, with the problem.

        Args:
            name: The namespace.
            capsule_id: Of this capsule alone.
            dry_run: Return what would change, and change nothing.
            actor: Recorded with the revision.
            reason: Recorded likewise.

        Returns:
            What each capsule that is read otherwise gains and loses, in order of registration.

        Raises:
            NamespaceNotFoundError, CapsuleNotFoundError: There is no such namespace, or capsule.
            RuntimeRefusedError: As `set_runtime`.
        """
        ids = None if capsule_id is None else [CapsuleId(capsule_id)]
        if dry_run:
            return self._look(
                name,
                lambda scope: rederivation.plan(scope, namespaces.head(scope).runtime_version, ids),
            )
        return self._change(name, lambda unit: (unit, rederivation.apply(unit, ids)), actor, reason)

    def _look(self, name: str, work: Callable[[Scope], T]) -> T:
        """Return what *work* finds in a namespace at one moment."""
        wanted = to_namespace(name)
        self._require_schema()
        with self._database.snapshot() as conn:
            scope = Scope(conn, wanted, self._clock)
            namespaces.head(scope)  # Which must exist.
            return work(scope)

    def _change(
        self,
        name: str,
        work: Callable[[Unit], tuple[Unit, T]],
        actor: str | None,
        reason: str | None,
    ) -> T:
        """Return the result of *work* in a unit, which is retried after transient failures."""
        wanted = to_namespace(name)
        by, why = recordable(actor, reason)
        prepare(self._database, migrate=None)
        tried: tuple[Unit, str | None, T] | None = None

        def attempt(conn: Connection) -> T:
            nonlocal tried
            unit = open_unit(conn, wanted, self._clock, self._database.dialect)
            if tried is not None and is_committed(unit, *tried[:2]):
                return tried[2]
            changed, result = work(unit)
            written = close_unit(changed, actor=by or default_actor(), reason=why)
            tried = changed, written, result
            return result

        with self._database.translating():
            return self._database.write(attempt)

    def _require_schema(self) -> None:
        self._database.look(find_schema).require_usable(self._database)

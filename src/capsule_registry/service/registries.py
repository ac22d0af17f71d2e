"""The registries that a service has open: one for each namespace that was asked for."""

from __future__ import annotations

import asyncio
from functools import partial
from shutil import disk_usage
from time import monotonic
from typing import TYPE_CHECKING

from capsule_registry import (
    AsyncCapsuleRegistry,
    DatabaseReplacedError,
    IncarnationChangedError,
    NamespaceNotFoundError,
    RegistryAdmin,
    RegistryUnavailableError,
)
from capsule_registry.identifiers import to_namespace
from capsule_registry.service.limits import FORGOTTEN_SECONDS, LEAST_FREE

if TYPE_CHECKING:
    from collections.abc import Container

    from capsule_registry import NamespaceStatus
    from capsule_registry.service.settings import Settings


class Registries:
    """The registries of the namespaces of one database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: dict[str, asyncio.Task[AsyncCapsuleRegistry]] = {}
        #: When each was asked for last.
        self._asked_at: dict[str, float] = {}
        self._admin: RegistryAdmin | None = None

    async def open(self) -> None:
        """
        Open the namespace that is there from the start, which a service that writes creates.

        Raises:
            CapsuleRegistryError: It cannot be opened.
        """
        await self._open(self._settings.namespace)
        opening = {**self._settings.opening, "read_only": True}
        self._admin = await asyncio.to_thread(RegistryAdmin.open, **opening, create=False)

    async def of(self, name: str) -> AsyncCapsuleRegistry:
        """
        Return the registry of the namespace *name*, which is opened, but never created.

        Raises:
            NamespaceNotFoundError: There is none.
            InvalidTextError: There can be none.
        """
        if (task := self._opened.get(name)) is not None and task.done():
            self._asked_at[name] = monotonic()
            return task.result()
        wanted = to_namespace(name)
        if wanted not in self._opened and wanted not in {one.name for one in await self.list()}:
            raise NamespaceNotFoundError(wanted)
        opened = await self._open(wanted)
        self._asked_at[wanted] = monotonic()
        return opened

    async def close_forgotten(self, followed: Container[str]) -> None:
        """Close those that nobody has asked for in a while, but the first and the *followed*."""
        since = monotonic() - FORGOTTEN_SECONDS
        for name, task in [*self._opened.items()]:
            is_kept = name == self._settings.namespace or name in followed or not task.done()
            # Looked at again, since it may have gone while another one was closed.
            is_there = self._opened.get(name) is task
            if is_there and not is_kept and self._asked_at.get(name, 0.0) < since:
                del self._opened[name]
                self._asked_at.pop(name, None)
                await task.result().close()

    async def list(self) -> list[NamespaceStatus]:
        """Return the namespaces of the database, sorted by name."""
        assert self._admin is not None  # noqa: S101 - it is opened
        return await asyncio.to_thread(self._admin.namespaces)

    async def require_ready(self) -> None:
        """
        Require that the database answers, on a schema that can be used, and that it has room.

        Raises:
            CapsuleRegistryError: It does not.
        """
        registry = await self._open(self._settings.namespace)
        await registry.history.revision
        await self.list()
        address = registry._plain._database.address  # noqa: SLF001 - of one house
        if address.file is not None and disk_usage(address.file.parent).free < LEAST_FREE:
            raise RegistryUnavailableError(str(address), "its disk is full")

    async def recheck(self, name: str) -> None:
        """
        Open the registry of *name* anew when it is asked for, if it is void.

        So it is if its namespace was dropped, or its database restored or replaced: then all that
        it has seen belongs to another history.
        """
        if (task := self._opened.get(name)) is None or not task.done():
            return
        registry = task.result()
        try:
            await registry.history.revision
        except (DatabaseReplacedError, IncarnationChangedError, NamespaceNotFoundError):
            if self._opened.get(name) is task:
                del self._opened[name]
                await registry.close()

    @property
    def opened(self) -> dict[str, AsyncCapsuleRegistry]:
        """Those that are open, by namespace."""
        return {name: task.result() for name, task in self._opened.items() if task.done()}

    async def close(self) -> None:
        """Close them all."""
        if opening := [*self._opened.values()]:
            await asyncio.wait(opening)
        for registry in self.opened.values():
            await registry.close()
        if self._admin is not None:
            await asyncio.to_thread(self._admin.close)

    async def _open(self, name: str) -> AsyncCapsuleRegistry:
        """Open it once, however many ask; if that fails, whoever asks next tries again."""
        if (task := self._opened.get(name)) is None:
            opening = AsyncCapsuleRegistry.open(**self._settings.opening, namespace=name)
            task = self._opened[name] = asyncio.create_task(opening)
            task.add_done_callback(partial(self._forget_failed, name))
        return await asyncio.shield(task)

    def _forget_failed(self, name: str, task: asyncio.Task[AsyncCapsuleRegistry]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._opened[name]

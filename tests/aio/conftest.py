"""Fixtures: a registry for asyncio on each database, in debug mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import AsyncCapsuleRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop: asyncio's own, which reports what blocks it and what was never awaited."""
    return "asyncio", {"debug": True}


@pytest.fixture
async def opened(url: str) -> AsyncIterator[AsyncCapsuleRegistry]:
    """An empty registry; at the end nothing of it may be in use."""
    async with await AsyncCapsuleRegistry.open(url, actor="tester") as opened:
        yield opened
    database = opened._plain._database
    assert [0, 0] == [one.pool.checkedout() for one in (database.engine, database.reader)]  # type: ignore[attr-defined]

"""Services for the tests of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.services import BASE, Service, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from capsule_registry import CapsuleRegistry


@pytest.fixture
def service(url: str, registry: CapsuleRegistry, tmp_path: Path) -> Iterator[Service]:
    """A service of the registry's database that lets its clients write."""
    with served(url, tmp_path / "tokens") as found:
        yield found


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A writer of that service, whose paths begin at the namespace."""
    with service.client() as found:
        found.base_url = found.base_url.join(f"{BASE}/")
        yield found

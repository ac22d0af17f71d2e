"""Fixtures: the databases, a registry on each, the corpus."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from capsule_registry import AsyncCapsuleRegistry, CapsuleRegistry
from support.backends import MORE_NAMES, NAMES, Backend, ServerBackend, SqliteBackend, make_backend
from support.lease_steps import wait_until
from support.sql_writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--backend`, which may be given several times."""
    parser.addoption(
        "--backend",
        action="append",
        choices=[*NAMES, *MORE_NAMES],
        help="run on this database only",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that use a database on every backend, or on SQLite if they use `sqlite`."""
    if "backend" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--backend")
        names = wanted or NAMES
        is_marked = metafunc.definition.get_closest_marker("files_alone") is not None
        if (is_marked and not wanted) or "sqlite" in metafunc.fixturenames:
            names = ["sqlite"]
        metafunc.parametrize("backend", names, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no process is left alone with them at the end."""
    items.sort(key=lambda item: item.path.parent.name != "stress")


# A busy machine must not fail an example.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# PyMySQL reads the machine's certificates anew for each connection, and trusts none of them.
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"


class Clock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def step(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> SqliteBackend:
    """SQLite, for features that only SQLite has."""
    return SqliteBackend(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    """A kind of database; one that is unavailable is skipped, or fails in CI."""
    made = make_backend(request.param, tmp_path_factory.mktemp(request.param))
    if isinstance(made, str):
        if os.environ.get("CI"):
            pytest.fail(made)
        pytest.skip(made)
    yield made
    made.close()


@pytest.fixture
def server(backend: Backend) -> ServerBackend:
    """A backend that is a database server."""
    if not isinstance(backend, ServerBackend):
        pytest.skip(f"{backend.name} is no server")
    return backend


@pytest.fixture
def url(backend: Backend) -> str:
    """The URL of a database that has the schema and the namespace `default`."""
    return backend.new_url()


@pytest.fixture
def clock() -> Clock:
    """A clock that moves only when told to."""
    return Clock()


@pytest.fixture
def registry(url: str, clock: Clock) -> Iterator[CapsuleRegistry]:
    """An empty registry; at the end no connection may still be checked out."""
    with CapsuleRegistry.open(url, clock=clock, actor="tester") as opened:
        yield opened
        for engine in (opened._database.engine, opened._database.reader):
            # A thread that reaps leases may be at its last read.
            wait_until(lambda pool=engine.pool: 0 == pool.checkedout())  # type: ignore[misc]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop: asyncio's own, which reports what blocks it and what was never awaited."""
    return "asyncio", {"debug": True}


@pytest.fixture
async def opened(url: str) -> AsyncIterator[AsyncCapsuleRegistry]:
    """An empty registry for asyncio; at the end nothing of it may be in use."""
    async with await AsyncCapsuleRegistry.open(url, actor="tester") as opened:
        yield opened
    database = opened._plain._database
    pools: list[Any] = [database.engine.pool, database.reader.pool]
    assert [0, 0] == [one.checkedout() for one in pools]


@pytest.fixture
def writer(url: str, registry: CapsuleRegistry) -> Iterator[Writer]:
    """Another process that changes the registry's file, and ends before the registry closes."""
    writer = Writer(url)
    yield writer
    writer.close()


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real manifests, which are other people's files and so in no checkout."""
    if not CORPUS.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI has the corpus of real manifests at {CORPUS}, and it is not there")
        pytest.skip(f"the corpus of real manifests is not at {CORPUS}")
    return CORPUS


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's own registry and settings out of the tests."""
    for name in ("DATABASE", "NAMESPACE", "ACTOR"):
        monkeypatch.delenv(f"CAPSULE_REGISTRY_{name}", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))

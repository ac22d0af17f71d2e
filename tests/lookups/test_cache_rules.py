"""The rules that make cached lookups safe, and what goes wrong without each."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import CapsuleRegistry, PermissionDeniedError, sqlite_module
from capsule_registry.database.database import Database
from capsule_registry.database.dialects import sqlite_connections, sqlite_identity
from capsule_registry.database.dialects.sqlite_identity import FileIdentity
from capsule_registry.database.dialects.sqlite_wal_index import UntrustedIndexError
from capsule_registry.identifiers import known_id
from capsule_registry.lookups.file_lookups import FileLookups
from capsule_registry.lookups.memory import keep
from support.factories import make_manifest
from support.sql_writer import SESSION, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from capsule_registry import CapsuleId
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope

pytestmark = [
    pytest.mark.usefixtures("sqlite"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # A fork beside threads.
]


@pytest.fixture
def registry(url: str) -> Iterator[CapsuleRegistry]:
    """A registry that has cached the session's capsule id."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest("beta"))
        registry.register(make_manifest("alpha"), uuids=[SESSION])
        assert "alpha" == registry.find_by_uuid(SESSION)
        yield registry


def lookups_of(registry: CapsuleRegistry) -> Any:
    return registry._lookups


@pytest.mark.parametrize(("kept", "told"), [(True, "beta"), (False, "alpha")])
def test_a_connection_stays_open(
    registry: CapsuleRegistry,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kept: bool,
    told: str,
) -> None:
    """Without it the last process to close removes the index, and the map goes stale."""
    registry._database.engine.dispose()
    if not kept:
        monkeypatch.setattr(FileIdentity, "require_current", lambda _: None)
        lookups_of(registry)._connection.close()
    writer.do("reopen")
    writer.do("point beta")

    assert told == registry.find_by_uuid(SESSION)


def refuse_to_map(*_: object) -> None:
    raise UntrustedIndexError("it cannot be mapped")


def refuse_to_look(*_: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.usefixtures("registry")
def test_an_index_that_cannot_be_looked_at_is_not_trusted(
    url: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lookup asks the file, and `way` says why."""
    monkeypatch.setattr(sqlite_identity, "map_index", refuse_to_map)
    with CapsuleRegistry.open(url) as other:
        for owner in ("beta", "alpha"):
            writer.do(f"point {owner}")
            assert owner == other.find_by_uuid(SESSION)

        assert "cannot be mapped" in lookups_of(other).way


def test_a_file_that_cannot_be_looked_at_is_a_typed_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the operating system refuses on the way to the first lookup names the file."""
    with CapsuleRegistry.open(url) as registry:
        monkeypatch.setattr(sqlite_connections, "inode", refuse_to_look)
        with pytest.raises(PermissionDeniedError, match="registry"):
            registry.find_by_uuid(SESSION)
        monkeypatch.undo()
        assert registry.find_by_uuid(SESSION) is None


def locks_on(file: Path) -> int:
    """Return how many locks this process has on *file*."""
    inode, process = str(file.stat().st_ino), str(os.getpid())
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(fields[4] == process and fields[5].endswith(f":{inode}") for fields in held)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="locks cannot be looked at here")
def test_no_descriptor_on_the_index_is_closed(registry: CapsuleRegistry, url: str) -> None:
    """A reader keeps its locks while registries come and go; closing one descriptor loses them."""
    file = Path(f"{url.removeprefix('sqlite:///')}-shm")
    reader = sqlite_module.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM capsules").fetchall()
    before = locks_on(file)
    for _ in range(3):
        with CapsuleRegistry.open(url) as other:
            assert "alpha" == other.find_by_uuid(SESSION)
    after = locks_on(file)
    os.close(os.open(file, os.O_RDONLY))
    lost = locks_on(file)
    reader.close()

    assert before > 0
    assert (before, 0) == (after, lost)


def find_before_the_header(lookups: Any, scope: PreparedScope, uuid: UUID) -> CapsuleId | None:
    """Read the row before the header under which it is kept: the wrong order."""
    rows = lookups._run(lookups._without_lease, (lookups._namespace, str(uuid))).fetchall()
    entries = lookups._refresh(scope)
    keep(entries.owners, uuid.int, known_id(rows[0][0]), 10)
    return known_id(rows[0][0])


@pytest.mark.parametrize(("in_order", "told"), [(True, "beta"), (False, "alpha")])
def test_the_header_is_read_before_the_rows(  # noqa: PLR0913 - two of them are the table's
    registry: CapsuleRegistry,
    url: str,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    in_order: bool,
    told: str,
) -> None:
    """A row is stale if a commit comes while it is read, so its entry is not used again."""
    if not in_order:
        monkeypatch.setattr(FileLookups, "_find", find_before_the_header)
    with CapsuleRegistry.open(url) as other:
        other.get("alpha")
        lookups = lookups_of(other)
        run = lookups._run

        def run_and_be_overtaken(statement: str, parameters: tuple[str, ...]) -> Any:
            lookups._run = run
            found = run(statement, parameters).fetchall()
            writer.do("point beta")
            return _Fetched(found)

        lookups._run = run_and_be_overtaken
        assert "alpha" == other.find_by_uuid(SESSION)
        assert told == other.find_by_uuid(SESSION)


class _Fetched:
    def __init__(self, rows: list[Any]) -> None:
        self.fetchall = lambda: rows


@pytest.mark.parametrize(("let_go", "told"), [(True, "beta"), (False, "alpha")])
def test_nothing_is_carried_over_a_fork(
    url: str, monkeypatch: pytest.MonkeyPatch, *, let_go: bool, told: str
) -> None:
    """A child that kept the map would use it after all others had closed the file."""
    if not let_go:
        monkeypatch.setattr(FileIdentity, "require_current", lambda _: None)
        for owner in (FileLookups, Database):
            monkeypatch.setattr(owner, "before_fork", lambda _: None)
            monkeypatch.setattr(owner, "after_fork", lambda _, **__: None)
    go, answer = os.pipe(), os.pipe()
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest("alpha"), uuids=[SESSION])
        assert "alpha" == registry.find_by_uuid(SESSION)
        child = os.fork()
        if child == 0:
            try:
                os.read(go[0], 1)
                os.write(answer[1], (registry.find_by_uuid(SESSION) or "none").encode())
            finally:
                os._exit(0)
    monkeypatch.undo()
    with CapsuleRegistry.open(url) as other:
        other.register(make_manifest("beta"))
        other.register_uuid(SESSION, "beta")
        os.write(go[1], b"1")
        found = os.read(answer[0], 100).decode()
    os.waitpid(child, 0)
    for descriptor in (*go, *answer):
        os.close(descriptor)

    assert told == found

"""PgBouncer in transaction mode: sessions are shared, so no state may be left in one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    InvalidTextError,
    PermissionDeniedError,
    RegistryAdmin,
)
from support.factories import TELEGRAM, make_manifest
from support.servers import found, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend

_PATIENCE_SECONDS = 20.0
_SETTINGS = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = {directory}/log
"""


@pytest.fixture(scope="module")
def pooler(backend: Backend) -> Iterator[int]:
    """The port of a pooler in front of the server, with two sessions for all clients."""
    if backend.name != "postgresql":
        pytest.skip("it is PostgreSQL's")
    try:
        program = found("pgbouncer")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    directory = Path(mkdtemp(prefix="capsule-registry-pooler-"))
    place = sa.make_url(backend.new_url())
    for port in [free_port() for _ in range(5)]:
        if (process := started(program, directory, port, place)) is not None:
            break
    else:
        pytest.fail(f"{program} does not start")
    yield port
    process.kill()
    process.wait()
    shutil.rmtree(directory)


def started(
    program: str, directory: Path, port: int, place: sa.URL
) -> subprocess.Popen[bytes] | None:
    """Return the pooler once it answers, or `None` if the port was taken first."""
    parts = {"host": place.host, "port": place.port, "user": place.username}
    settings = directory / "settings.ini"
    settings.write_text(_SETTINGS.format(**parts, own=port, directory=directory))
    command = [program, str(settings)]
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        for owned in (directory, settings):
            os.chown(owned, user.pw_uid, user.pw_gid)
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return None


@pytest.fixture
def pooled(pooler: int, url: str) -> str:
    """The URL of the database, through the pooler."""
    through = sa.make_url(url).set(host="127.0.0.1", port=pooler)
    return through.render_as_string(hide_password=False)


def use(url: str, number: int) -> int:
    """Write and read through a new registry; return how many answers were wrong."""
    wrong = 0
    with CapsuleRegistry.open(url) as registry:
        for name in (f"c{number}-{count}" for count in range(15)):
            uuid = uuid4()
            registry.register(make_manifest(name, uplink=[TELEGRAM]), uuids=[uuid])
            found = registry.get(name)
            wrong += registry.find_by_uuid(uuid) != name or found is None or found.id != name
            uplinks = registry.find_uplinks(capsule_id=name)
            wrong += [name] != [uplink.capsule_id for uplink in uplinks]
    return wrong


def test_many_share_few_sessions(pooled: str) -> None:
    """No client gets another's answer, whatever was prepared in the session."""
    with ThreadPoolExecutor(6) as threads:
        assert [0] * 6 == [*threads.map(lambda number: use(pooled, number), range(6))]
    with CapsuleRegistry.open(pooled) as registry:
        assert 90 == len(registry)
        assert registry.history.verify().ok
        with registry.snapshot() as snapshot:
            assert 90 == len(snapshot.list())


# A failure on an engine's first connection leaves that to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_looking_at_connections_statements_are_mixed_up(
    pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a statement prepared by one client is found by another under the same name."""
    monkeypatch.setattr("capsule_registry.database.engines._greet", lambda *_: None)
    with ThreadPoolExecutor(6) as threads, pytest.raises((sa.exc.DBAPIError, CapsuleRegistryError)):
        [*threads.map(lambda number: use(pooled, number), range(6))]


def test_a_reader_leaves_no_mark_on_the_sessions(pooled: str) -> None:
    """The registry refuses writes of a read-only client, while others go on writing."""
    with (
        CapsuleRegistry.open(pooled) as registry,
        CapsuleRegistry.open(pooled, read_only=True) as reader,
    ):
        for name in ("a", "b", "c", "d"):
            registry.register(make_manifest(name))
            assert name == reader.list()[-1]
            with pytest.raises(PermissionDeniedError):
                reader.unregister(name)


def test_the_schema_can_be_upgraded_through_it(pooled: str) -> None:
    """The schema lock belongs to the transaction, and is released with it."""
    with RegistryAdmin.open(pooled) as admin:
        for _ in range(3):
            admin.upgrade()
        assert admin.status().is_usable
        assert ["default"] == [found.name for found in admin.namespaces()]


def test_a_query_through_it_cannot_write(pooled: str) -> None:
    """It is one statement, though nothing is prepared in a shared session."""
    with CapsuleRegistry.open(pooled) as registry:
        registry.register(make_manifest())
        with RegistryAdmin.open(pooled, read_only=True) as admin:
            assert [("alpha",)] == admin.query("SELECT id FROM capsules")[1]
            with pytest.raises(InvalidTextError):
                admin.query("SELECT 1; COMMIT; DELETE FROM capsules")
        assert ["alpha"] == registry.list()

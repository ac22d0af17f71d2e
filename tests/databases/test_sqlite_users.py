"""A SQLite file and several users of the system: whose the files beside it are, who is refused."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleRegistry, PermissionDeniedError, RegistryAdmin, sqlite_module
from support.factories import make_manifest
from support.files import contents, leave
from support.processes import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.usefixtures("sqlite"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of a fork beside threads
]

SERVICE, STRANGER = 64_001, 64_002
LIBRARY = "capsule_registry.database.dialects.sqlite_library"
STILL = "capsule_registry.database.dialects.sqlite_still"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's, and that is the service's."""
    with TemporaryDirectory() as directory:
        if "True" != as_user(SERVICE, lambda: os.access(__file__, os.R_OK)):
            pytest.skip("other users cannot reach the checkout")
        os.chown(directory, SERVICE, SERVICE)
        yield Path(directory)


def as_user(user: int, work: Callable[[], object], umask: int = 0o022) -> str:
    """Return what *work* returns, as text, when *user* calls it: a result or an error of ours."""

    def alone(say: Callable[[str], None]) -> None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        os.umask(umask)
        try:
            say(str(work()))
        except PermissionDeniedError as error:
            say(f"denied: {error}")

    [line], code = Child(alone).end()
    assert 0 == code
    return line


def register(file: Path, name: str = "alpha") -> Callable[[], object]:
    """Return a function that registers *name* in *file*, and says what is registered."""

    def work() -> object:
        with CapsuleRegistry.open(f"sqlite:///{file}") as registry:
            registry.register(make_manifest(name))
            return registry.list()

    return work


def owners(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Return owner, group and mode of what is in *directory*, by name."""
    found = {path.name: path.stat() for path in directory.iterdir()}
    return {
        name: (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) for name, one in found.items()
    }


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o664])
@pytest.mark.parametrize("race", [False, True])
def test_what_root_creates_is_the_services(
    place: Path, monkeypatch: pytest.MonkeyPatch, mode: int, race: bool
) -> None:
    """The files beside a database have its owner, group and mode, whoever made them."""
    monkeypatch.setattr(f"{LIBRARY}.has_wal_reset_race", lambda version: race)
    file = place / "r.db"
    assert "['alpha']" == as_user(SERVICE, register(file))
    file.chmod(mode)
    for queue in place.glob("*-*"):
        queue.unlink()
    with CapsuleRegistry.open(f"sqlite:///{file}") as registry, registry.transaction() as unit:
        unit.register(make_manifest("beta"))
        unit.list()  # Writes what waits, so that a rollback journal is there.
        found = owners(place)

    ends = {"-next", "-turn", "-journal"} if race else {"-next", "-turn", "-wal", "-shm"}
    assert {"r.db", *(f"r.db{end}" for end in ends)} <= set(found)
    assert {(SERVICE, SERVICE, mode)} == set(found.values())
    assert "['alpha', 'beta', 'gamma']" == as_user(SERVICE, register(file, "gamma"))


def test_a_database_that_root_creates_is_the_services(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to whom the directory belongs to; so do directories that are created for it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "data"))
    CapsuleRegistry.open().close()
    RegistryAdmin.open(f"sqlite:///{place}/r.db").close()

    file = place / "data" / "capsule-registry" / "registry.db"
    for path, mode in (
        (place / "data", 0o700),
        (file.parent, 0o700),
        (file, 0o600),
        (place / "r.db", 0o600),
    ):
        found = path.stat()
        assert (SERVICE, SERVICE, mode) == (
            found.st_uid,
            found.st_gid,
            stat.S_IMODE(found.st_mode),
        )
    assert "['alpha']" == as_user(SERVICE, register(file))


def test_the_copy_before_an_upgrade_is_the_services(place: Path) -> None:
    """One upgrade that root makes leaves a copy that the owner can open; a backup is root's."""
    file = place / "r.db"
    connection = sqlite_module.connect(file)
    connection.execute("CREATE TABLE diary (entry TEXT)")
    connection.close()
    os.chown(file, SERVICE, SERVICE)
    file.chmod(0o640)
    with RegistryAdmin.open(f"sqlite:///{file}") as admin:
        copy = admin.upgrade()
        admin.backup(place / "backup.db")

    assert copy is not None
    found = owners(place)
    assert (SERVICE, SERVICE, 0o640) == found[copy.name]
    assert (0, 0, 0o600) == found["backup.db"]


def test_a_group_that_cannot_be_given_gets_nothing(place: Path) -> None:
    """What a user outside the database's group makes is not opened to that user's own group."""
    file = place / "r.db"
    as_user(SERVICE, register(file))
    for queue in place.glob("*-*"):
        queue.unlink()
    place.chmod(0o777)
    file.chmod(0o666)
    assert "['alpha', 'beta']" == as_user(STRANGER, register(file, "beta"))

    assert (STRANGER, STRANGER, 0o606) == owners(place)["r.db-turn"]


@pytest.mark.parametrize("ending", ["-next", "-turn", "-wal", "-shm"])
def test_a_file_beside_it_that_may_not_be_opened_is_named(place: Path, ending: str) -> None:
    """The error says whose it is, and what to do; done, it helps."""
    file, other = place / "r.db", place / f"r.db{ending}"
    as_user(SERVICE, register(file))
    other.touch()
    os.chown(other, 0, 0)
    other.chmod(0o600)
    refused = as_user(SERVICE, register(file, "beta"))

    assert refused.startswith("denied: ")
    assert f"{other} for writing (user 0, group 0, mode 0600): give it the owner" in refused
    os.chown(other, SERVICE, SERVICE)
    assert "['alpha', 'beta']" == as_user(SERVICE, register(file, "beta"))


def test_who_may_not_write_is_told_what_may_not_be_written(place: Path) -> None:
    """The database itself, or the directory in which SQLite needs its log."""
    file = place / "r.db"
    as_user(SERVICE, register(file))
    file.chmod(0o644)
    place.chmod(0o755)
    assert f"may not open {file} for writing" in as_user(STRANGER, register(file, "beta"))
    file.chmod(0o666)
    assert f"may not open {place} for writing" in as_user(STRANGER, register(file, "beta"))
    assert {"r.db", "r.db-next", "r.db-turn"} == set(owners(place))


def asked(file: Path) -> Callable[[], object]:
    """Return a function that asks *file* in every way, read-only, and says what is registered."""

    def work() -> object:
        with CapsuleRegistry.open(f"sqlite:///{file}", read_only=True) as registry:
            assert registry.history.verify().ok
            assert registry.find_by_uuid(uuid4()) is None
            with registry.snapshot() as view:
                assert registry.list() == view.list()
        with RegistryAdmin.open(f"sqlite:///{file}", read_only=True) as admin:
            problems = {one.name for one in admin.findings() if one.problem}
            assert problems <= {"file mode", "directory mode"}
            assert admin.status().is_usable
            return [name for (name,) in admin.query("SELECT id FROM capsules ORDER BY id")[1]]

    return work


@pytest.mark.parametrize("race", [False, True])
@pytest.mark.parametrize(("mode", "above"), [(0o444, 0o555), (0o644, 0o755), (0o444, 0o777)])
def test_the_right_to_read_is_enough_to_read(
    place: Path, monkeypatch: pytest.MonkeyPatch, mode: int, above: int, race: bool
) -> None:
    """Whether or not somebody has the file open; and nothing is created or changed."""
    monkeypatch.setattr(f"{LIBRARY}.has_wal_reset_race", lambda version: race)
    file = place / "r.db"
    as_user(SERVICE, register(file))
    file.chmod(mode)
    place.chmod(above)
    idle = contents(place)
    assert "['alpha']" == as_user(STRANGER, asked(file))
    assert idle == contents(place)

    waits, ends = os.pipe()

    def hold(say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(f"sqlite:///{file}") as registry:
            registry.register(make_manifest("beta"))
            say("holding")
            os.read(waits, 1)

    holder = Child(hold)
    assert "holding" == holder.readline()
    busy = contents(place)
    assert "['alpha', 'beta']" == as_user(STRANGER, asked(file))
    assert busy == contents(place)
    os.write(ends, b".")
    assert 0 == holder.end()[1]


def test_a_reader_without_the_right_to_write_sees_what_is_committed_later(place: Path) -> None:
    """Read as a copy while nobody has the file open, it is read again once it has changed."""
    file = place / "r.db"
    as_user(SERVICE, register(file))
    file.chmod(0o644)
    place.chmod(0o755)
    asks, asked = os.pipe()

    def read(say: Callable[[str], None]) -> None:
        os.setgid(STRANGER)
        os.setuid(STRANGER)
        with CapsuleRegistry.open(f"sqlite:///{file}", read_only=True) as registry:
            while os.read(asks, 1) == b"?":
                say(f"{registry.list()} {registry.get('beta') is not None}")

    reader = Child(read)

    def ask() -> str:
        os.write(asked, b"?")
        return reader.readline()

    assert "['alpha'] False" == ask()
    with CapsuleRegistry.open(f"sqlite:///{file}") as registry:
        registry.register(make_manifest("beta"))
        assert "['alpha', 'beta'] True" == ask()
        registry.unregister("alpha")
        assert "['beta'] True" == ask()
    as_user(SERVICE, register(file, "gamma"))
    assert "['beta', 'gamma'] True" == ask()
    os.write(asked, b".")
    assert 0 == reader.end()[1]


@pytest.mark.parametrize("state", ["log left", "log and index left", "journal left"])
def test_what_a_crash_left_is_read_without_the_right_to_write(place: Path, state: str) -> None:
    """Commits in the log are there, half a transaction is not, and nothing is changed."""
    file = place / "r.db"
    leave(file, state, ("CREATE TABLE diary (entry)", "INSERT INTO diary VALUES ('mine')"))
    for path in place.iterdir():
        path.chmod(0o644)
    place.chmod(0o755)
    before = contents(place)

    def look() -> object:
        with RegistryAdmin.open(f"sqlite:///{file}", read_only=True) as admin:
            names = admin.query("SELECT name FROM sqlite_schema")[1]
            return names, admin.query("SELECT entry FROM diary")[1]

    assert "([('diary',)], [('mine',)])" == as_user(STRANGER, look)
    assert before == contents(place)


def test_what_may_not_be_read_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database, what is left in its log, or that it is too large to be copied."""
    file = place / "r.db"
    leave(file, "log left", ("CREATE TABLE diary (entry)",))
    file.chmod(0o600)
    place.chmod(0o755)
    look = lambda: RegistryAdmin.open(f"sqlite:///{file}", read_only=True).status()  # noqa: E731
    assert f"may not open {file} for reading" in as_user(STRANGER, look)
    file.chmod(0o644)
    log = place / "r.db-wal"
    log.chmod(0o600)
    assert f"may not read {log}" in as_user(STRANGER, look)
    log.unlink()
    as_user(SERVICE, register(place / "ours.db"))
    (place / "ours.db").chmod(0o644)
    monkeypatch.setattr(f"{STILL}.LARGEST_COPY", 0)
    assert f"may not write {place}" in as_user(STRANGER, asked(place / "ours.db"))


#: Lists what is registered, once at the start and again for each line that it is sent.
LISTS = """
import sys
from capsule_registry import CapsuleRegistry
from capsule_registry.database.dialects import sqlite_still
sqlite_still.LARGEST_COPY = int(sys.argv[2])
with CapsuleRegistry.open(sys.argv[1], read_only=True) as registry:
    print(registry.list(), flush=True)
    for _ in sys.stdin:
        print(registry.list(), flush=True)
"""


@contextmanager
def reader_on_a_read_only_mount(file: Path, largest_copy: int) -> Iterator[Callable[[], str]]:
    """Yield a function that returns what a process lists that sees *file* mounted read-only."""
    mount = f"mount --bind {file.parent} {file.parent} && mount -o remount,bind,ro {file.parent}"
    alone = [shutil.which("unshare") or "unshare", "-m", "sh", "-c"]
    if subprocess.run([*alone, mount], check=False).returncode:
        pytest.skip("nothing may be mounted here")
    command = shlex.join([sys.executable, "-c", LISTS, f"sqlite:///{file}", str(largest_copy)])
    with subprocess.Popen(
        [*alone, f"{mount} && exec {command}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lists, asks = process.stdout, process.stdin
        first = [lists.readline().strip()]

        def ask() -> str:
            if first:
                return first.pop()
            print(file=asks, flush=True)
            return lists.readline().strip()

        yield ask
        asks.close()
    assert 0 == process.returncode


@pytest.mark.parametrize("largest_copy", [0, 2**26])
def test_a_directory_that_is_mounted_read_only_is_read_as_it_is_now(
    place: Path, largest_copy: int
) -> None:
    """While others write it elsewhere too; copied, or where it lies if it is large."""
    file = place / "r.db"
    register(file)()
    before = contents(place)
    with reader_on_a_read_only_mount(file, largest_copy) as ask:
        assert "['alpha']" == ask()
        assert before == contents(place)
        with CapsuleRegistry.open(f"sqlite:///{file}") as registry:
            registry.register(make_manifest("beta"))
            assert "['alpha', 'beta']" == ask()
            registry.unregister("alpha")
            assert "['beta']" == ask()
        register(file, "gamma")()
        assert "['beta', 'gamma']" == ask()


@pytest.mark.parametrize("ends", [("-wal",), ("-wal", "-shm")])
def test_what_was_left_in_a_log_on_a_read_only_mount_is_read(
    place: Path, tmp_path: Path, ends: tuple[str, ...]
) -> None:
    """With the index or without, and nothing is changed."""
    file = place / "r.db"
    with CapsuleRegistry.open(f"sqlite:///{tmp_path}/r.db") as registry:
        registry.register(make_manifest())
        for end in ("", *ends):
            shutil.copyfile(tmp_path / f"r.db{end}", f"{file}{end}")
    before = contents(place)
    with reader_on_a_read_only_mount(file, 2**26) as ask:
        assert "['alpha']" == ask()
    assert before == contents(place)

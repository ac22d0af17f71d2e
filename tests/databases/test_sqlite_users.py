"""A SQLite file and several users of the system: whose the files beside it are, who is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from capsule_registry import CapsuleRegistry, PermissionDeniedError, RegistryAdmin, sqlite_module
from support.factories import make_manifest
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

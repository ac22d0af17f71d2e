"""A SQLite file that is replaced, moved, removed or overwritten while it is open."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from capsule_registry import (
    CapsuleRegistry,
    DatabaseReplacedError,
    InvalidDatabaseError,
    RegistryAdmin,
    sqlite_module,
)
from capsule_registry.database.dialects.sqlite_file import mount_points
from support.factories import make_manifest
from support.lease_steps import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("sqlite")

SESSION = UUID(int=1)
MANIFEST = make_manifest("alpha", capabilities={"kv": ["key"]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the database, in a directory of its own."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "r.db"


@pytest.fixture
def registry(path: Path) -> Iterator[CapsuleRegistry]:
    """A registry that answers from memory, of a database of which there is a backup."""
    with CapsuleRegistry.open(f"sqlite:///{path}") as registry:
        registry.register(MANIFEST, uuids=[SESSION])
        with RegistryAdmin.open(f"sqlite:///{path}") as admin:
            admin.backup(path.parent.parent / "backup.db")
        registry.register(make_manifest("beta"))
        assert registry.is_allowed(SESSION, "kv", "key")
        yield registry


def delete(path: Path) -> None:
    path.unlink()


def move_a_backup_over_it(path: Path) -> None:
    (path.parent.parent / "backup.db").replace(path)


def copy_a_backup_over_it(path: Path) -> None:
    shutil.copyfile(path.parent.parent / "backup.db", path)


def move_its_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))


def replace_its_directory(path: Path) -> None:
    move_its_directory(path)
    path.parent.mkdir()
    shutil.copyfile(path.parent.with_name("moved") / "r.db", path)


def remove_the_log(path: Path) -> None:
    path.with_name("r.db-wal").unlink()


def remove_the_index(path: Path) -> None:
    path.with_name("r.db-shm").unlink()


WAYS = [
    delete,
    move_a_backup_over_it,
    copy_a_backup_over_it,
    move_its_directory,
    replace_its_directory,
    remove_the_log,
    remove_the_index,
]


def refused(step: Callable[[], object]) -> str:
    with pytest.raises(DatabaseReplacedError) as caught:
        step()
    return str(caught.value)


@pytest.mark.parametrize("replace", WAYS)
def test_nothing_is_acknowledged_any_more(
    registry: CapsuleRegistry, path: Path, replace: Callable[[Path], None]
) -> None:
    """Every verb says what happened to the file, from then on and for as long as it is open."""
    replace(path)

    for _ in range(2):
        message = refused(lambda: registry.register(make_manifest("gamma")))
        assert "nothing was acknowledged" in message
        assert str(path) in message
        refused(registry.list)
        refused(registry.history.verify)


@pytest.mark.parametrize("replace", WAYS)
def test_lookups_from_memory_stop(
    registry: CapsuleRegistry, path: Path, replace: Callable[[Path], None]
) -> None:
    """A check that was allowed raises within milliseconds, and never answers again."""
    replace(path)

    def raises() -> bool:
        try:
            registry.is_allowed(SESSION, "kv", "key")
        except DatabaseReplacedError:
            return True
        return False

    wait_until(raises)
    for _ in range(2):
        refused(lambda: registry.is_allowed(SESSION, "kv", "key"))
        refused(lambda: registry.find_by_uuid(SESSION))
        refused(lambda: registry.get("alpha"))


@pytest.mark.parametrize("replace", WAYS)
def test_a_unit_under_way_is_not_acknowledged(
    registry: CapsuleRegistry, path: Path, replace: Callable[[Path], None]
) -> None:
    """A file that is replaced during a transaction is noticed before its end is reported."""

    def write() -> None:
        with registry.transaction() as transaction:
            transaction.register(make_manifest("gamma"))
            replace(path)

    refused(write)


def test_checkpoints_are_not_taken_for_another_programs_writes(
    registry: CapsuleRegistry, path: Path
) -> None:
    """The control: however often the log is written back, by whomever, all goes on."""
    other = sqlite_module.connect(path)
    for number in range(50):
        registry.register(make_manifest(f"c-{number}"))
        mode = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")[number % 4]
        other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        assert registry.is_allowed(SESSION, "kv", "key")
    other.close()

    assert registry.history.verify().ok


def test_what_is_opened_again_is_the_new_file(registry: CapsuleRegistry, path: Path) -> None:
    """After the error the caller decides, and opens what is at the path now."""
    registry.close()
    for end in ("-wal", "-shm"):
        path.with_name(f"r.db{end}").unlink(missing_ok=True)
    move_a_backup_over_it(path)

    with CapsuleRegistry.open(f"sqlite:///{path}") as again:
        assert ["alpha"] == again.list()


MOUNTED_ALONE = """
set -e
mount --bind "$1" "$2"
exec "$3" -c '
import sys
from capsule_registry import CapsuleRegistry
CapsuleRegistry.open("sqlite:///" + sys.argv[1])' "$2"
"""


def test_a_file_that_is_mounted_alone_is_refused(registry: CapsuleRegistry, path: Path) -> None:
    """A container that sees the file but not its log would write beside everybody else."""
    other = path.parent.parent / "container.db"
    other.touch()
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        MOUNTED_ALONE,
        "sh",
        str(path),
        str(other),
        sys.executable,
    ]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting takes root, and unshare")
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "InvalidDatabaseError" in outcome.stderr
    assert "mount its directory" in outcome.stderr
    assert ["alpha", "beta"] == registry.list()


def test_mount_points_are_read_with_their_escapes() -> None:
    """The table writes a blank in a path as an octal number."""
    table = "proc /proc proc rw 0 0\n/dev/vda /data/a\\040b.db ext4 rw 0 0\n"

    assert {Path("/proc"), Path("/data/a b.db")} == mount_points(table)


def test_a_missing_file_is_no_replaced_one(path: Path) -> None:
    """The error of a path with a directory is as before."""
    with pytest.raises(InvalidDatabaseError, match="no file"):
        CapsuleRegistry.open(f"sqlite:///{path.parent}")

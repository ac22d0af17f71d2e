"""A SQLite file is opened where locks are those of one machine, and refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsule_registry import CapsuleRegistry, InvalidDatabaseError
from capsule_registry.database.dialects.sqlite_file import file_system_of
from support.commands import invoke, run

pytestmark = pytest.mark.usefixtures("sqlite")

_LOCAL = (
    "ext2 ext3 ext4 xfs btrfs zfs f2fs bcachefs jfs reiserfs ubifs nilfs2 tmpfs ramfs overlay vfat"
    " exfat ntfs3 hfsplus apfs fuseblk fuseblk.ntfs-3g"
)
_OF_NETWORKS = (
    "nfs nfs3 nfs4 cifs smb smbfs smb2 smb3 9p 9p2000.L afs auristorfs kafs coda ncp ncpfs ceph"
    " glusterfs lustre beegfs beegfs_nodev fhgfs panfs gpfs gfs gfs2 ocfs2 pvfs2 orangefs wekafs"
    " acfs cvfs snfs cxfs vxfs ibrix dvs davfs sshfs"
)
_OF_HOSTS = "virtiofs vboxsf vmhgfs prl_fs prl_fs_freeze osxfs grpcfuse fakeowner drvfs"
_OF_PROGRAMS = (
    "fuse fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.mergerfs fuse.shfs"
    " fuse.bindfs fuse.grpcfuse fuse.osxfs fuse.vmhgfs-fuse fuse.cephfs fuse.ceph-fuse fuse.juicefs"
    " fuse.mfs fuse.davfs fuse.encfs fuse.gocryptfs fuse.blobfuse2 fuse.unheard-of"
)


def _mount(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(
        "capsule_registry.database.dialects.sqlite_file._mounts", lambda: f"x / {kind} rw 0 0\n"
    )


@pytest.mark.parametrize("kind", [*_OF_NETWORKS.split(), *_OF_HOSTS.split(), *_OF_PROGRAMS.split()])
def test_a_file_system_that_others_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Those of a network, of a virtual machine's host, and whatever a program serves."""
    _mount(monkeypatch, kind)
    for read_only in (True, False):
        with pytest.raises(InvalidDatabaseError, match=rf"locks cannot be trusted.*\({kind}\)"):
            CapsuleRegistry.open(f"sqlite:///{tmp_path}/r.db", read_only=read_only)

    assert [] == [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", _LOCAL.split())
def test_a_local_file_system_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """FUSE on a block device is local too."""
    _mount(monkeypatch, kind)
    CapsuleRegistry.open(f"sqlite:///{tmp_path}/r.db").close()

    assert (tmp_path / "r.db").is_file()


@pytest.mark.parametrize("said_by", ["error", "help"])
def test_it_is_said_what_the_permission_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said_by: str
) -> None:
    """Both the refusal and the option's help say what can be lost, and when."""
    _mount(monkeypatch, "virtiofs")
    result = invoke("--help") if said_by == "help" else run(f"sqlite:///{tmp_path}/r.db", "list")
    said = " ".join(result.output.split())

    for word in ("lost", "corrupted", "power cut", "two machines"):
        assert word in said


@pytest.mark.parametrize("point", [r"/mnt/a\040b", "/mnt/a\x85b", "/mnt/a\u2028b", r"/mnt/a\043b"])
def test_a_mount_point_may_have_any_name(point: str) -> None:
    """Blanks are escaped in the table of mounts; only a newline ends a line."""
    path = Path(point.replace(r"\040", " ").replace(r"\043", "#"), "r.db")

    assert "nfs4" == file_system_of(path, f"/dev/a / ext4 rw 0 0\nserver:/x {point} nfs4 rw 0 0\n")


def test_a_mount_may_have_no_source() -> None:
    """The table then has nothing before the first blank."""
    assert "nfs4" == file_system_of(Path("/mnt/r.db"), "/dev/a / ext4 rw 0 0\n /mnt nfs4 rw 0 0\n")

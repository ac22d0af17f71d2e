"""Whether a file is on a file system whose locks can be trusted."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

#: File systems that reach over a network. Source: https://sqlite.org/howtocorrupt.html §2.
_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)
_MOUNTS: Final = Path("/proc/self/mounts")


def network_file_system(path: Path) -> str | None:
    """Return the type of the network file system that *path* is on, or `None` on a local one."""
    kind = file_system_of(path, _mounts())
    return kind if kind in _NETWORK else None


def file_system_of(path: Path, mounts: str) -> str | None:
    """Return the type of the file system that *path* is on by a table of *mounts* (see fstab)."""
    best, kind = -1, None
    for line in mounts.splitlines():
        fields = line.split()
        point = PurePosixPath(_unescaped(fields[1]))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind


def _unescaped(text: str) -> str:
    """Undo the escapes of blanks and backslashes in the table of mounts."""
    for escaped, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escaped, character)
    return text


def _mounts() -> str:
    try:
        return _MOUNTS.read_text()
    except OSError:  # A system that has no such table is not asked.
        return ""

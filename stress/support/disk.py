"""
A disk that forgets in a power cut what was not synchronised, built from a trace of system calls.

What was written to a file lasts once the file is synchronised; what was done to the names in a
directory lasts once the directory is. Of the rest any part may survive (`Disk.after_power_cut`).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

#: What `strace` must report. The last ones are not modelled, so they must not occur.
CALLS: Final = (
    "write,pwrite64,openat,ftruncate,fsync,fdatasync,unlink,mkdir,"
    "rename,renameat,renameat2,link,linkat,fallocate,pwritev,writev"
)
_LINE: Final = re.compile(r"\d+ +(\w+)\((.*)\) += (-?\d+)(?:<(.*?)>)?.*")
_PATH_OF_DESCRIPTOR: Final = re.compile(r"\d+<(.*?)>")
_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SECTOR: Final = 512


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded: its name, the path it is about, and its data and number."""

    name: str
    path: str
    data: bytes = b""
    number: int = 0
    creates: bool = False


def calls(trace: str) -> Iterator[Call]:
    """Yield the calls in the output of `strace -f -y`."""
    for line in trace.splitlines():
        found = _LINE.fullmatch(line)
        if "<unfinished" in line:
            raise ValueError(f"two threads at once are not modelled: {line[:200]}")
        if found is None or int(found[3]) < 0:
            continue
        name, arguments, _, opened = found.groups()
        texts = [ast.literal_eval(f'b"{text}"') for text in _TEXT.findall(arguments)]
        descriptor = _PATH_OF_DESCRIPTOR.match(arguments)
        last = arguments.rpartition(", ")[2]
        match name:
            case "openat":
                yield Call(name, opened or "", creates="O_CREAT" in arguments)
            case "unlink" | "mkdir":
                yield Call(name, texts[0].decode())
            case "write" | "pwrite64":
                offset = int(last) if name == "pwrite64" else 0
                yield Call(name, descriptor[1] if descriptor else "", texts[0], offset)
            case "ftruncate":
                yield Call(name, descriptor[1] if descriptor else "", number=int(last))
            case "fsync" | "fdatasync":
                yield Call(name, descriptor[1] if descriptor else "")
            case _:
                yield Call(name, descriptor[1] if descriptor else texts[-1].decode())


@dataclass(eq=False, slots=True)
class _File:
    """The content that lasts, and the changes since: writes at an offset, and new sizes."""

    lasting: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        self.lasting, self.pending = self.with_changes(self.pending), []

    def with_changes(self, changes: Sequence[tuple[int, bytes | None]]) -> bytearray:
        content = bytearray(self.lasting)
        for offset, data in changes:
            if data is None:
                content[:] = content[:offset].ljust(offset, b"\0")
            else:
                content[:] = content.ljust(offset, b"\0")
                content[offset : offset + len(data)] = data
        return content


class Disk:
    """What is under *root*: the names that last, the changes to names since, and the files."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        #: Files by name; directories are `None`. A name without its directory is lost.
        self._lasting: dict[str, _File | None] = {self._root: None}
        self._pending: list[tuple[str, _File | None, bool]] = []
        self._now: dict[str, _File | None] = dict(self._lasting)

    def has(self, call: Call) -> bool:
        """Return whether *call* is about this disk."""
        return call.path.startswith(self._root)

    def run(self, call: Call) -> None:
        """Do what *call* did."""
        file = self._now.get(call.path)
        match call.name:
            case "openat":
                if call.creates and call.path not in self._now:
                    self._name(call.path, _File())
            case "mkdir":
                self._name(call.path, None)
            case "unlink":
                self._pending.append((call.path, self._now.pop(call.path), False))
            case "fsync" | "fdatasync" if file is not None:
                file.sync()
            case "fsync" | "fdatasync":
                self._sync_names(call.path)
            case "pwrite64" if file is not None:
                file.pending.append((call.number, call.data))
            case "ftruncate" if file is not None:
                file.pending.append((call.number, None))
            case _:
                raise ValueError(f"{call.name} of {call.path} is not modelled")

    def _name(self, path: str, file: _File | None) -> None:
        self._now[path] = file
        self._pending.append((path, file, True))

    def _sync_names(self, directory: str) -> None:
        done = [change for change in self._pending if str(Path(change[0]).parent) == directory]
        self._lasting = _renamed(self._lasting, done)
        self._pending = [change for change in self._pending if change not in done]

    def after_power_cut(
        self, chance: random.Random, *, names: float, data: float
    ) -> dict[str, bytes]:
        """
        Return the files after a power cut now, by their names under the root.

        Args:
            chance: Decides what survives of what was not synchronised.
            names: Which part of the changes to names survives, in their order.
            data: Which part of the writes survives; one that is cut off is cut at a sector.
        """
        kept = self._pending[: round(names * len(self._pending))]
        found = {}
        for path, file in _renamed(self._lasting, kept).items():
            above = str(Path(path).parent)
            if file is not None and above in _renamed(self._lasting, kept):
                survivors = [_torn(chance, *one) for one in file.pending if chance.random() < data]
                changes = file.pending if data == 1 else survivors
                found[path.removeprefix(f"{self._root}/")] = bytes(file.with_changes(changes))
        return found


def _renamed(
    names: dict[str, _File | None], changes: Sequence[tuple[str, _File | None, bool]]
) -> dict[str, _File | None]:
    found = dict(names)
    for path, file, is_new in changes:
        if is_new:
            found[path] = file
        else:
            found.pop(path, None)
    return found


def _torn(chance: random.Random, offset: int, data: bytes | None) -> tuple[int, bytes | None]:
    if data is None or chance.choice((True, False)):
        return offset, data
    return offset, data[: _SECTOR * chance.randint(0, len(data) // _SECTOR)]

"""
Who may ask what: tokens, of which a file has the hashes.

A token is `NAME.SECRET`. The file has a line for each: its name, role, namespace (`*` for all) and
SHA-256. Whoever can write the file can let anybody in, so it is to be readable by its owner alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from capsule_registry.errors import InvalidInputError, InvalidTextError
from capsule_registry.identifiers import to_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger: Final = logging.getLogger("capsule_registry")

#: A name of this form is stored as an actor everywhere, and stands in no way of the format.
_NAME: Final = re.compile(r"[A-Za-z0-9_@-]{1,100}")
_HEADER: Final = "# name role namespace sha256: one line for each token; see docs/service.md\n"
_SECRET_BYTES: Final = 32
#: The namespace that stands for all.
ALL: Final = "*"
#: How long what was read is held before the file is looked at again.
_LOOK_SECONDS: Final = 1.0


class Role(StrEnum):
    """What a token is for."""

    #: What is registered and what has happened, and decisions.
    READER = "reader"
    #: And changes.
    WRITER = "writer"
    #: What a reader may, and checks of the whole history.
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name of a token, or nobody known."""

    name: str | None
    role: Role
    namespace: str

    def may_see(self, namespace: str) -> bool:
        """Return whether that namespace is any of the caller's business."""
        return self.namespace in (ALL, namespace)


#: Whoever asks a service without tokens, which nobody can reach from elsewhere.
ANYBODY: Final = Caller(None, Role.AUDITOR, ALL)


@dataclass(frozen=True, slots=True)
class Token:
    """A line of the file."""

    caller: Caller
    digest: str

    @classmethod
    def parse(cls, line: str) -> Token:
        """
        Return the token that *line* is of.

        Raises:
            InvalidTextError: It is no such line.
        """
        try:
            name, role, namespace, digest = line.split()
            return cls(caller_of(name, role, namespace), bytes.fromhex(digest).hex())
        except ValueError as error:
            raise InvalidTextError("tokens", "malformed", "a line is no token") from error

    def __str__(self) -> str:
        caller = self.caller
        return f"{caller.name} {caller.role} {caller.namespace} {self.digest}"


def caller_of(name: str, role: str, namespace: str) -> Caller:
    """
    Return the caller with the token of that name.

    Raises:
        InvalidTextError: *name* or *namespace* cannot be one.
        ValueError: *role* is none.
    """
    if not _NAME.fullmatch(name):
        raise InvalidTextError("name of a token", "malformed", "it is 1 to 100 of A-Za-z0-9_@-")
    return Caller(name, Role(role), ALL if namespace == ALL else to_namespace(namespace))


class Tokens:
    """The tokens of a file, which is read anew when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked_at = float("-inf")
        self._identity: object = None
        self._known: dict[str, Token] = {}
        self._look()

    def caller(self, token: str) -> Caller | None:
        """Return whose *token* that is; `None` if nobody's, or if the file cannot be used."""
        name = token.partition(".")[0]
        is_old = time.monotonic() - self._looked_at > _LOOK_SECONDS
        try:
            if is_old or (name not in self._known and self._identity is not None):
                self._look()
        except (OSError, InvalidInputError) as error:
            logger.error("Everybody is refused, since the tokens cannot be read: %s", error)  # noqa: TRY400 - it says all
            self._known, self._identity = {}, None
            self._looked_at = time.monotonic()
        found = self._known.get(name)
        is_it = compare_digest(digest_of(token), found.digest if found else "")
        return found.caller if found and is_it else None

    def _look(self) -> None:
        """Read the file if it has changed."""
        found = os.stat(self._path)  # noqa: PTH116 - on the way of many requests
        identity = found.st_ctime_ns, found.st_ino, found.st_mode, found.st_uid
        if identity != self._identity:
            self._known, self._identity = read(self._path), identity
        self._looked_at = time.monotonic()


def digest_of(token: str) -> str:
    """Return the SHA-256 by which *token* is known."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read(path: Path) -> dict[str, Token]:
    """
    Return the tokens at *path* by name, in the order of the lines.

    Raises:
        PermissionError: Others than its owner may read or write the file.
        OSError: It cannot be read.
        InvalidTextError: A line of it is no token, or two have one name.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        _require_private(path, file.fileno())
        found: dict[str, Token] = {}
        for line in file:
            if line.strip() and not line.startswith("#"):
                token = Token.parse(line)
                if found.setdefault(token.caller.name or "", token) is not token:
                    raise InvalidTextError("tokens", "duplicate", f"{token.caller.name} is twice")
        return found


def create(path: Path, caller: Caller) -> str:
    """
    Add a token for *caller* to the file at *path*, which is created if need be, and return it.

    It is told this once, and kept nowhere.

    Raises:
        FileExistsError: There is a token of that name.
        OSError: The file cannot be written.
        InvalidTextError: A line of it is no token.
    """
    path = path.resolve()  # What a link leads to is what a service reads.
    with _locked(path):
        known = read(path)
        if caller.name in known:
            raise FileExistsError(17, f"there is a token called {caller.name}", str(path))
        token = f"{caller.name}.{secrets.token_urlsafe(_SECRET_BYTES)}"
        _write(path, [*known.values(), Token(caller, digest_of(token))])
        return token


def revoke(path: Path, name: str) -> bool:
    """
    Remove the token of that name, and return whether there was one; services notice in a second.

    Raises:
        OSError: The file cannot be read or written.
        InvalidTextError: A line of it is no token.
    """
    path = path.resolve()
    with _locked(path):
        known = read(path)
        if known.pop(name, None) is None:
            return False
        _write(path, [*known.values()])
        return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Create the file at *path* if need be, and let nobody else write it meanwhile."""
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _write(path, [])
        yield
    finally:
        os.close(lock)


def _write(path: Path, tokens: list[Token]) -> None:
    """Put a new file in the place of that at *path*, which a crash leaves old or new."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_HEADER + "".join(f"{token}\n" for token in tokens))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _require_private(path: Path, descriptor: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & 0o077:
        reason = f"others may read or write it (mode {mode:04o}): make it 0600"
        raise PermissionError(13, reason, str(path))

"""The URL of a SQLite file: a path as it is, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capsule_registry.errors import InvalidDatabaseError

FILE_URLS: Final = (
    "write sqlite:///relative/path, sqlite:////absolute/path or sqlite:// (in memory)"
)
_IN_MEMORY: Final = ":memory:"
#: In a URL they mean an option, a fragment or an escape, and on other systems the next directory.
_AMBIGUOUS: Final = "?#%\\"


def file_of(place: str) -> Path | None:
    """
    Return the path in a SQLite URL, given what follows `://`; `None` for a database in memory.

    Raises:
        InvalidDatabaseError: *place* asks for something other than a file. It is not shown, since
            it may hold a password or a key.
    """
    name = place.removeprefix("/")
    if place in ("", f"/{_IN_MEMORY}"):
        return None
    if name == place:
        raise _refusal(f"a file has no user, password, host or port: {FILE_URLS}")
    if found := [character for character in _AMBIGUOUS if character in name]:
        raise _refusal(
            f"it has {' and '.join(found)} in it, and a file's URL has no options, fragments or "
            "escapes: write the file's name as it is, a blank as a blank; if such characters are "
            "in the name, make a symbolic link without them. To read only, say read_only"
        )
    if name.startswith("file:"):
        raise _refusal(f"it holds another URL, file:…, in place of a path: {FILE_URLS}")
    if name.rpartition("/")[2] in ("", ".", ".."):
        raise _refusal(f"it names a directory, or nothing: {FILE_URLS}")
    return _resolved(name)


def _resolved(name: str) -> Path:
    try:
        return Path(name).resolve()
    except UnicodeEncodeError:
        reason = "it has half of a surrogate pair, which no file's name has"
    except RuntimeError:
        reason = "a symbolic link in it leads back to itself"
    except OSError as error:  # The working directory was deleted.
        reason = f"it cannot be resolved: {error.strerror}"
    raise _refusal(reason)


def _refusal(reason: str) -> InvalidDatabaseError:
    return InvalidDatabaseError("sqlite://…", reason)

"""Reading untrusted TOML as a tree of JSON values, within `limits`."""

from __future__ import annotations

import datetime as dt
import math
import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.errors import InvalidManifestError
from capsule_registry.manifest.limits import MAX_BYTES, MAX_DEPTH, refuse_size, refuse_traps

if TYPE_CHECKING:
    from os import PathLike

#: Source: `toml` 0.8, the original's parser.
_MAX_INTEGER: Final = 2**63 - 1


def read_text(path: str | PathLike[str]) -> str:
    """
    Return the text of the file at *path*, byte order mark and line ends kept.

    Raises:
        InvalidManifestError: Rule `io`, `too_large` or `not_utf8`.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidManifestError(path, "io", "it is no regular file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"{error.strerror} (os error {error.errno})"
        raise InvalidManifestError(path, "io", message) from error
    except ValueError as error:  # A path that no file system can have.
        if isinstance(error, InvalidManifestError):
            raise
        raise InvalidManifestError(path, "io", str(error)) from error
    refuse_size(len(data), path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"stream did not contain valid UTF-8 (byte {error.start})"
        raise InvalidManifestError(path, "not_utf8", message) from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open *path* without blocking, even if it is a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)


def parse_document(text: str, path: str | PathLike[str] | None = None) -> dict[str, Any]:
    """
    Return the TOML document *text* as JSON values, in the order of the text.

    A datetime becomes `{"$__toml_private_datetime": text}`, and nan and infinity become null, as
    the original shows them.

    Raises:
        InvalidManifestError: Rule `too_large`, `not_utf8`, `toml_syntax` or `too_complex`.
    """
    refuse_size(len(text), path)
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        message = f"the text is no valid Unicode (character {error.start})"
        raise InvalidManifestError(path, "not_utf8", message) from error
    refuse_size(size, path)
    text = text.removeprefix("\ufeff")
    refuse_traps(text, path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidManifestError(path, "toml_syntax", str(error)) from error
    except (ValueError, RecursionError) as error:
        # An impossible date, or an integer with more digits than Python converts.
        raise InvalidManifestError(path, "toml_syntax", f"invalid value: {error}") from error
    values: dict[str, Any] = _to_json(document, path)
    return values


def _to_json(value: object, path: str | PathLike[str] | None, depth: int = 0) -> Any:  # noqa: ANN401 - JSON is any of seven types
    if depth > MAX_DEPTH:
        message = f"recursion limit exceeded (over {MAX_DEPTH} levels)"
        raise InvalidManifestError(path, "toml_syntax", message)
    match value:
        case dict():
            return {key: _to_json(item, path, depth + 1) for key, item in value.items()}
        case list():
            return [_to_json(item, path, depth + 1) for item in value]
        case bool() | str():
            return value
        case int() if not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            message = "number too large to fit in target type (64-bit signed integer)"
            raise InvalidManifestError(path, "toml_syntax", message)
        case float() if not math.isfinite(value):
            return None
        case dt.datetime() | dt.date() | dt.time():
            return {"$__toml_private_datetime": _datetime_text(value)}
    return value


def _datetime_text(value: dt.datetime | dt.date | dt.time) -> str:
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text

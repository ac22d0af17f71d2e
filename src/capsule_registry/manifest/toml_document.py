"""Reading untrusted TOML as a tree of JSON values, within `limits`."""

from __future__ import annotations

import datetime as dt
import math
import os
import stat
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import tomli

from capsule_registry.errors import InvalidManifestError
from capsule_registry.manifest.limits import MAX_BYTES, MAX_DEPTH, refuse_size, refuse_traps

if TYPE_CHECKING:
    from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML document as JSON values, in the order of the text."""

    values: dict[str, Any]
    #: What TOML 1.0, as the original's parser reads it, has against the text.
    refusal: InvalidManifestError | None = None
    #: The text is TOML 1.1, and not 1.0.
    is_toml_1_1: bool = False

    def require_toml_1_0(self) -> None:
        """Raise `InvalidManifestError` if the original's parser would not take the text."""
        if self.refusal is not None:
            raise self.refusal


def parse_document(text: str, path: str | PathLike[str] | None = None) -> Document:
    """
    Return the TOML document *text*, of TOML 1.0 or 1.1.

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
        document = _loaded(tomllib.loads, text, path)
    except InvalidManifestError as refusal:
        # What neither takes is told as by TOML 1.1, which gets further.
        values = _to_json(_loaded(tomli.loads, text, path), path)
        return Document(values, refusal, is_toml_1_1=True)
    return Document(_to_json(document, path), _too_large_integer(document, path))


def _loaded(
    loads: Callable[..., dict[str, Any]],
    text: str,
    path: str | PathLike[str] | None,
) -> dict[str, Any]:
    try:
        return loads(text, parse_float=_finite)
    except (tomllib.TOMLDecodeError, tomli.TOMLDecodeError) as error:
        raise InvalidManifestError(path, "toml_syntax", str(error)) from error
    except (ValueError, RecursionError) as error:
        # An impossible date, or an integer with more digits than Python converts.
        raise InvalidManifestError(path, "toml_syntax", f"invalid value: {error}") from error


def _finite(text: str) -> float:
    """Return a number, or infinity if that is what *text* says."""
    number = float(text)
    if math.isinf(number) and "inf" not in text:
        raise ValueError(f"number too large: {text}")
    return number


def _too_large_integer(
    value: object, path: str | PathLike[str] | None
) -> InvalidManifestError | None:
    """Return what the original says of an integer of more than 64 bits; today's ignores it."""
    match value:
        case dict():
            found = (_too_large_integer(item, path) for item in value.values())
            return next(filter(None, found), None)
        case list():
            return next(filter(None, (_too_large_integer(item, path) for item in value)), None)
        case bool():
            return None
        case int() if not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            message = "number too large to fit in target type (64-bit signed integer)"
            return InvalidManifestError(path, "toml_syntax", message)
    return None


def _to_json(value: object, path: str | PathLike[str] | None, depth: int = 0) -> Any:  # noqa: ANN401 - JSON is any of seven types
    if depth > MAX_DEPTH:
        message = f"recursion limit exceeded (over {MAX_DEPTH} levels)"
        raise InvalidManifestError(path, "toml_syntax", message)
    match value:
        case dict():
            return {key: _to_json(item, path, depth + 1) for key, item in value.items()}
        case list():
            return [_to_json(item, path, depth + 1) for item in value]
        case float() if not math.isfinite(value):
            return None
        case dt.datetime() | dt.date() | dt.time():
            return {"$__toml_private_datetime": _datetime_text(value)}
    return value


def _datetime_text(value: dt.datetime | dt.date | dt.time) -> str:
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text

"""The exit code of each kind of failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import capsule_registry as library

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistryError

PARTLY_FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
CONFLICT: Final = 4
INVALID_INPUT: Final = 5
UNUSABLE_SCHEMA: Final = 6
UNAVAILABLE: Final = 7
HISTORY_CORRUPT: Final = 8
NOT_PERMITTED: Final = 9
UNEXPECTED: Final = 10
UNWRITTEN: Final = 11

#: The exit code of each branch of errors; the first match counts.
_OF_ERRORS: Final = (
    ("UsageError", USAGE),
    ("NotFoundError", NOT_FOUND),
    ("ConflictError", CONFLICT),
    ("InvalidInputError", INVALID_INPUT),
    ("DependencyCycleError", INVALID_INPUT),
    ("RevisionError", INVALID_INPUT),
    ("SchemaVersionError", UNUSABLE_SCHEMA),
    ("RegistryUnavailableError", UNAVAILABLE),
    ("HistoryCorruptError", HISTORY_CORRUPT),
    ("PermissionDeniedError", NOT_PERMITTED),
    ("UnexpectedDatabaseError", UNEXPECTED),
)
#: The exit codes of file system errors that no error of the library stands for.
_OF_OS_ERRORS: Final[dict[type[OSError], int]] = {
    FileExistsError: CONFLICT,
    FileNotFoundError: INVALID_INPUT,
    IsADirectoryError: INVALID_INPUT,
    NotADirectoryError: INVALID_INPUT,
    PermissionError: NOT_PERMITTED,
}


def of_error(error: CapsuleRegistryError) -> int:
    """Return the exit code of *error*."""
    return next(
        (code for name, code in _OF_ERRORS if isinstance(error, getattr(library, name))),
        PARTLY_FAILED,
    )


def of_os_error(error: OSError) -> int:
    """Return the exit code of a file system *error*; one that names no file is of the output."""
    if error.filename is None:
        return UNWRITTEN
    return _OF_OS_ERRORS.get(type(error), UNAVAILABLE)

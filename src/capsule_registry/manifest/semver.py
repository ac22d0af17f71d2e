"""
Versions and version requirements by Cargo's rules.

Source: the `semver` crate 1.0.27, whose error messages are kept, since the original shows them. No
package on PyPI reads Cargo requirements: npm's and Python's rules differ (`0.1` means `^0.1`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from capsule_registry.errors import InvalidTextError
from capsule_registry.identifiers import quoted
from capsule_registry.plain_values import plain_text

_U64_MAX: Final = 2**64 - 1
_MAX_COMPARATORS: Final = 32
_MAJOR, _MINOR, _PATCH = "major version number", "minor version number", "patch version number"
_PRE, _BUILD = "pre-release identifier", "build metadata"
_DIGITS = re.compile(r"[0-9]*", re.ASCII)
_IDENTIFIER = re.compile(r"[0-9A-Za-z.-]*", re.ASCII)
_OPERATOR = re.compile(r">=|<=|[=><~^]|")


class SemverError(ValueError):
    """The text is not a version or requirement; the message is the original's."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version; build metadata is parsed and dropped, since nothing compares it."""

    release: tuple[int, int, int]
    prerelease: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Version:
        """Parse `MAJOR.MINOR.PATCH`, then `-pre` and `+build` if any; raise `SemverError`."""
        if not text:
            message = "empty string, expected a semver version"
            raise SemverError(message)
        major, rest = _number(text, _MAJOR)
        minor, rest = _number(_after_dot(rest, _MAJOR), _MINOR)
        patch, rest = _number(_after_dot(rest, _MINOR), _PATCH)
        prerelease, last, rest = _suffixes(rest)
        if rest:
            message = f"unexpected character '{quoted(rest[0])}' after {last}"
            raise SemverError(message)
        return cls((major, minor, patch), prerelease)

    @property
    def precedence(self) -> tuple[object, ...]:
        """The sort key: a pre-release comes before its release, numeric parts before words."""
        parts = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.prerelease
        )
        return (*self.release, not self.prerelease, parts)


@dataclass(frozen=True, slots=True)
class Comparator:
    """One condition of a requirement; `None` stands for an omitted number."""

    operator: str
    major: int
    minor: int | None
    patch: int | None
    prerelease: tuple[str, ...]

    @property
    def floor(self) -> Version:
        """The lowest version with the numbers given."""
        return Version((self.major, self.minor or 0, self.patch or 0), self.prerelease)

    @property
    def given(self) -> tuple[int, ...]:
        """The numbers given, without omitted ones."""
        return tuple(n for n in (self.major, self.minor, self.patch) if n is not None)

    def matches(self, version: Version) -> bool:
        """Return whether *version* meets this condition, pre-release rule aside."""
        match self.operator:
            case "=" | "*":
                return self._equals(version)
            case ">":
                return version.precedence > self.floor.precedence and not self._within(version)
            case ">=":
                return version.precedence >= self.floor.precedence
            case "<":
                return version.precedence < self.floor.precedence
            case "<=":
                return version.precedence <= self.floor.precedence or self._within(version)
            case _:
                return version.precedence >= self.floor.precedence and (
                    version.release[: self._fixed] == self.floor.release[: self._fixed]
                )

    def allows_prerelease_of(self, version: Version) -> bool:
        """Return whether this names a pre-release of the same three numbers."""
        return bool(self.prerelease) and self.given == version.release

    @property
    def _fixed(self) -> int:
        """How many leading numbers `~` and `^` fix."""
        if self.operator == "~":
            return min(len(self.given), 2)
        leading_zeros = next((i for i, n in enumerate(self.given) if n), len(self.given) - 1)
        return leading_zeros + 1

    def _equals(self, version: Version) -> bool:
        within = version.release[: len(self.given)] == self.given
        return within and version.prerelease == self.prerelease

    def _within(self, version: Version) -> bool:
        """Return whether numbers were omitted and *version* has all that were given."""
        return len(self.given) < 3 and version.release[: len(self.given)] == self.given  # noqa: PLR2004 - a release has three numbers


@dataclass(frozen=True, slots=True)
class Requirement:
    """Conditions that must all hold; `*` has none."""

    comparators: tuple[Comparator, ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Parse comparators joined by commas, or `*` alone; raise `SemverError`."""
        rest = text.lstrip(" ")
        if _is_wildcard(rest):
            after = rest[1:].lstrip(" ")
            if not after:
                return cls(())
            raise _lone_wildcard(rest) if after.startswith(",") else _after_wildcard()
        comparators: list[Comparator] = []
        while True:
            comparator, last, rest = _comparator(rest)
            comparators.append(comparator)
            if not rest:
                return cls(tuple(comparators))
            if not rest.startswith(","):
                message = f"expected comma after {last}, found '{quoted(rest[0])}'"
                raise SemverError(message)
            if len(comparators) == _MAX_COMPARATORS:
                message = "excessive number of version comparators"
                raise SemverError(message)
            rest = rest[1:].lstrip(" ")

    def matches(self, version: Version) -> bool:
        """Return whether *version* meets every condition; one must ask for a pre-release."""
        if not all(comparator.matches(version) for comparator in self.comparators):
            return False
        return not version.prerelease or any(
            comparator.allows_prerelease_of(version) for comparator in self.comparators
        )


def to_requirement(text: str) -> Requirement:
    """
    Return the requirement that a caller has given as *text*.

    Raises:
        InvalidTextError: It is none.
    """
    plain = plain_text(text)
    try:
        return Requirement.parse("" if plain is None else plain)
    except SemverError as error:
        raise InvalidTextError("version", "no_requirement", str(error)) from error


def _comparator(text: str) -> tuple[Comparator, str, str]:
    """Return one comparator, the name of its last part, and the text after it."""
    operator = _OPERATOR.match(text)[0]  # type: ignore[index]  # matches the empty text too
    rest = text[len(operator) :].lstrip(" ")
    if _is_wildcard(text) and (not text[1:].lstrip(" ") or text[1:].lstrip(" ")[0] == ","):
        raise _lone_wildcard(text)
    major, rest = _number(rest, _MAJOR)
    minor, patch, last, wildcard = None, None, _MAJOR, False
    if rest.startswith("."):
        minor, rest, wildcard = _number_or_wildcard(rest[1:], _MINOR)
        last = _MINOR
    if last == _MINOR and rest.startswith("."):
        had_wildcard = wildcard
        patch, rest, wildcard = _number_or_wildcard(rest[1:], _PATCH, after_wildcard=had_wildcard)
        last = _PATCH
    prerelease: tuple[str, ...] = ()
    if patch is not None:
        prerelease, suffix, rest = _suffixes(rest)
        last = suffix
    kind = operator or ("*" if wildcard else "^")
    return Comparator(kind, major, minor, patch, prerelease), last, rest.lstrip(" ")


def _number_or_wildcard(
    text: str, position: str, *, after_wildcard: bool = False
) -> tuple[int | None, str, bool]:
    if _is_wildcard(text):
        return None, text[1:], True
    if after_wildcard:
        raise _after_wildcard()
    number, rest = _number(text, position)
    return number, rest, False


def _number(text: str, position: str) -> tuple[int, str]:
    digits = _DIGITS.match(text)[0]  # type: ignore[index]  # matches the empty text too
    if not digits:
        problem = f"unexpected character '{quoted(text[0])}'" if text else "unexpected end of input"
        message = f"{problem} while parsing {position}"
        raise SemverError(message)
    if digits.startswith("0") and len(digits) > 1:
        message = f"invalid leading zero in {position}"
        raise SemverError(message)
    if len(digits) > len(str(_U64_MAX)) or int(digits) > _U64_MAX:
        message = f"value of {position} exceeds u64::MAX"
        raise SemverError(message)
    return int(digits), text[len(digits) :]


def _after_dot(text: str, position: str) -> str:
    if text.startswith("."):
        return text[1:]
    problem = (
        f"unexpected character '{quoted(text[0])}' after {position}"
        if text
        else f"unexpected end of input while parsing {position}"
    )
    raise SemverError(problem)


def _suffixes(text: str) -> tuple[tuple[str, ...], str, str]:
    """Return the pre-release, the name of the last part read, and the text after it."""
    prerelease: tuple[str, ...] = ()
    last = _PATCH
    if text.startswith("-"):
        prerelease, text = _identifiers(text[1:], _PRE)
        last = _PRE
    if text.startswith("+"):
        _, text = _identifiers(text[1:], _BUILD)
        last = _BUILD
    return prerelease, last, text


def _identifiers(text: str, position: str) -> tuple[tuple[str, ...], str]:
    run = _IDENTIFIER.match(text)[0]  # type: ignore[index]  # matches the empty text too
    parts = tuple(run.split("."))
    if not all(parts):
        message = f"empty identifier segment in {position}"
        raise SemverError(message)
    if position == _PRE and any(
        part.isdigit() and len(part) > 1 and part.startswith("0") for part in parts
    ):
        message = f"invalid leading zero in {position}"
        raise SemverError(message)
    return parts, text[len(run) :]


def _is_wildcard(text: str) -> bool:
    return text.startswith(("*", "x", "X"))


def _lone_wildcard(text: str) -> SemverError:
    return SemverError(f"wildcard req ({text[0]}) must be the only comparator in the version req")


def _after_wildcard() -> SemverError:
    return SemverError("unexpected character after wildcard in version req")

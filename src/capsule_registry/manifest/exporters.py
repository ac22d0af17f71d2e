"""Who exports the interfaces that others import, by version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.manifest.semver import Requirement, Version

if TYPE_CHECKING:
    from collections.abc import Iterable


class Exporters:
    """An index of exported interfaces, to look up who meets an import."""

    def __init__(self, exports: Iterable[tuple[int, str, str]]) -> None:
        """
        Take who exports which interface in which version.

        Raises:
            SemverError: A version is none.
        """
        self._by_interface: dict[str, list[tuple[int, Version]]] = {}
        for who, interface, version in exports:
            found = self._by_interface.setdefault(interface, [])
            found.append((who, Version.parse(version)))

    def meeting(self, interface: str, requirement: str) -> list[int]:
        """
        Return who exports *interface* in a version that meets *requirement*, in order, each once.

        Raises:
            SemverError: *requirement* is none.
        """
        wanted = Requirement.parse(requirement)
        found = self._by_interface.get(interface, ())
        return sorted({who for who, version in found if wanted.matches(version)})

"""What a service serves, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

#: The names of this machine, for itself.
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a service serves, and to whom; can be sent to its workers."""

    #: The database's URL; `None` for the default file.
    database: str | None
    #: The namespace that is there from the start; others are served if they exist.
    namespace: str = "default"
    allow_writes: bool = False
    #: The file of tokens; without one, everybody may read.
    tokens: Path | None = None
    #: The names by which it may be called; empty on a Unix socket, where any will do.
    hosts: frozenset[str] = frozenset()
    allow_network_file_system: bool = False

    @property
    def opening(self) -> dict[str, Any]:
        """The arguments of `CapsuleRegistry.open` that all of its registries share."""
        return {
            "url": self.database,
            "read_only": not self.allow_writes,
            "allow_network_file_system": self.allow_network_file_system,
        }


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach *host*."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_any_address(host: str) -> bool:
    """Return whether *host* stands for all addresses of this machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False

"""Things to register, with sensible defaults."""

from __future__ import annotations

from typing import Any

from capsule_registry import CapsuleManifest, UplinkCapabilities, UplinkDescriptor

TELEGRAM = {"name": "u1", "platform": " Telegram ", "profile": "chat"}
CLI = {"name": "u2", "platform": "CLI", "profile": "bridge"}


def make_manifest(name: str = "alpha", **tables: Any) -> CapsuleManifest:
    """Return a manifest built in code; *tables* are under the names of the TOML file."""
    package = {"name": name, "version": "0.1.0", **tables.pop("package", {})}
    return CapsuleManifest.model_validate({"package": package, **tables})


def make_text(name: str = "alpha", extra: str = "") -> str:
    """Return the text of a manifest."""
    return f'[package]\nname = "{name}"\nversion = "0.1.0"\n{extra}'


def make_uplink(**values: Any) -> UplinkDescriptor:
    """Return an uplink as a host would file it by hand."""
    return UplinkDescriptor(
        **{
            "name": "by-hand",
            "platform": "discord",
            "capabilities": UplinkCapabilities.full(),
            **values,
        }
    )


class OriginalCapsule:
    """A capsule with the twelve members of the original, as its own tests make it."""

    def __init__(self, name: str, **tables: Any) -> None:
        self._manifest = make_manifest(name, package={"version": "0.0.1"}, **tables)

    def id(self) -> str:
        return self._manifest.package.name

    def manifest(self) -> CapsuleManifest:
        return self._manifest

    def state(self) -> str:
        return "ready"

    def tools(self) -> list[Any]:
        return []

    def source_dir(self) -> str | None:
        return None

    def _never(self, *_: object) -> None:
        message = "the registry called a member that belongs to the host"
        raise AssertionError(message)

    load = unload = take_inbound_rx = wait_ready = invoke_interceptor = check_health = _never
    interceptor_semaphore = _never

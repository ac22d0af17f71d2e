"""The verbs of a registry, asked over HTTP: what a typed client in Python would be."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

import capsule_registry as library
from capsule_registry import CapsuleId, RegisteredCapsule, RegisteredUplink, UplinkDescriptor
from capsule_registry.identifiers import to_generation, to_uuid

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import httpx

    from capsule_registry import Decision


def error_of(problem: Mapping[str, Any]) -> Exception:
    """Return the error that *problem* tells, as the library raises it."""
    kind = getattr(library, problem["error"], None)
    if kind is None:
        return library.InvalidInputError()
    facts = [_fact(name, problem["facts"].get(name)) for name in kind.facts]
    return kind(*facts)  # type: ignore[no-any-return]


def _fact(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    is_uuid = name in ("uuid", "uplink_id", "lease_id", "request_id") and value is not None
    return UUID(value) if is_uuid else value


def capsule_of(found: Mapping[str, Any]) -> RegisteredCapsule:
    """Return a capsule as the library would."""
    return RegisteredCapsule.model_validate(found, by_alias=True)


class HttpView:
    """The reads, as of now or of a moment."""

    def __init__(
        self, client: httpx.Client, namespace: str = "default", at: str | None = None
    ) -> None:
        self._client = client
        self.namespace = namespace
        self._at = {} if at is None else {"at": at}

    def _ask(self, method: str, path: str, params: Any = None, **options: Any) -> Any:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        answer = self._client.request(
            method,
            f"/v1/namespaces/{self.namespace}/{path}",
            params={**given, **self._at},
            **options,
        )
        if answer.status_code != 200:
            raise error_of(answer.json())
        return answer.json()

    def _all(self, model: Any, path: str, **params: Any) -> builtins.list[Any]:
        return [model.model_validate(one) for one in self._ask("GET", path, params)]

    def get(self, capsule_id: str) -> RegisteredCapsule | None:
        try:
            return capsule_of(self._ask("GET", f"capsules/{CapsuleId(capsule_id)}"))
        except library.CapsuleNotFoundError:
            return None

    def summaries(self, **conditions: Any) -> builtins.list[Any]:
        conditions = {name: _plain(value) for name, value in conditions.items()}
        return self._all(library.CapsuleSummary, "capsules", **conditions)

    def list(self, **conditions: Any) -> builtins.list[CapsuleId]:
        return [one.id for one in self.summaries(**conditions)]

    def values(self) -> Iterator[RegisteredCapsule]:
        return (record for one in self.list() if (record := self.get(one)) is not None)

    def __len__(self) -> int:
        return len(self.list())

    def __iter__(self) -> Iterator[CapsuleId]:
        return iter(self.list())

    def __bool__(self) -> bool:
        return True

    def __contains__(self, capsule_id: object) -> bool:
        return capsule_id in self.list()

    def is_empty(self) -> bool:
        return not self.list()

    def find_by_uuid(self, uuid: UUID | str) -> CapsuleId | None:
        found = self._ask("POST", "resolve", json={"uuid": str(to_uuid(uuid))})["capsule_id"]
        return None if found is None else CapsuleId(found)

    def uuids(self, capsule_id: str | None = None) -> builtins.list[Any]:
        return self._all(library.RegisteredUuid, "uuids", capsule_id=capsule_id)

    def get_uplink(self, uplink_id: UUID | str) -> UplinkDescriptor | None:
        try:
            found = self._ask("GET", f"uplinks/{to_uuid(uplink_id)}")
        except library.UplinkNotFoundError:
            return None
        return UplinkDescriptor.model_validate(found)

    def find_uplinks(self, **conditions: Any) -> builtins.list[RegisteredUplink]:
        conditions = {name: _plain(value) for name, value in conditions.items()}
        found = self._ask("GET", "uplinks", conditions)
        return [
            RegisteredUplink.model_validate(
                {"capsule_id": one.pop("capsule_id"), "descriptor": one}
            )
            for one in found
        ]

    def all_uplink_descriptors(self) -> builtins.list[UplinkDescriptor]:
        return [one.descriptor for one in self.find_uplinks()]

    def find_uplink_by_platform(self, text: str) -> UplinkDescriptor | None:
        found = (one for one in self.all_uplink_descriptors() if one.platform == text)
        return next(found, None)

    def find_uplinks_with_capability(
        self, predicate: Callable[[Any], object]
    ) -> builtins.list[UplinkDescriptor]:
        return [one for one in self.all_uplink_descriptors() if predicate(one.capabilities)]

    def check(self, uuid: Any, capability: str, value: Any = None, **_: Any) -> Decision:
        return self.check_many([(uuid, capability, value)])[0]

    def check_many(self, questions: Iterable[Any], **_: Any) -> builtins.list[Decision]:
        asked = [
            dict(zip(("uuid", "capability", "value"), (str(one[0]), *one[1:]), strict=False))
            for one in questions
        ]
        found = self._ask("POST", "check", json=asked)
        return [library.Decision.model_validate(one) for one in found]

    def is_allowed(self, uuid: Any, capability: str, value: Any = None) -> bool:
        return self.check(uuid, capability, value).allowed

    def grants(self, **conditions: Any) -> builtins.list[Any]:
        return self._all(library.Grant, "grants", **conditions)

    def tools(self, capsule_id: str | None = None) -> builtins.list[Any]:
        return self._all(library.Tool, "tools", capsule_id=capsule_id)

    def find_tool(self, name: str) -> builtins.list[Any]:
        return self._all(library.Tool, "tools", name=name)

    def tool_catalogue(self, capsule_id: str) -> Any:
        found = self._ask("GET", f"capsules/{CapsuleId(capsule_id)}/tool-catalogue")
        return library.ToolCatalogue(found["tool_catalogue"])

    def commands(self, *, kind: Any = None) -> builtins.list[Any]:
        return self._all(library.Command, "commands", kind=_plain(kind))

    def interceptors(self, topic: str) -> builtins.list[Any]:
        found = self._ask("GET", "interceptors", {"topic": topic})
        return [
            library.Interceptor(CapsuleId(one["capsule_id"]), one["action"], None) for one in found
        ]

    def providers(self, capability: str, *, version: str = "*") -> builtins.list[Any]:
        return self._all(library.Provision, "providers", capability=capability, version=version)

    def exports(self) -> builtins.list[Any]:
        return self._all(library.Export, "exports")

    def dependencies(self) -> builtins.list[Any]:
        return self._all(library.Dependency, "dependencies")

    def unmet(self, *, required: bool | None = None) -> builtins.list[Any]:
        return self._all(library.Dependency, "unmet", required=_plain(required))

    @property
    def routes(self) -> Any:
        def parties(which: str) -> Any:
            return lambda topic: [
                CapsuleId(one["capsule_id"])
                for one in self._ask("GET", f"routes/{which}", {"topic": topic})
            ]

        return SimpleNamespace(
            called=self._called,
            publishers=parties("publishers"),
            subscribers=parties("subscribers"),
            unheard=lambda: self._all(library.Route, "routes/unheard"),
            unsaid=lambda: self._all(library.Route, "routes/unsaid"),
            list=lambda capsule_id=None: self._all(library.Route, "routes", capsule_id=capsule_id),
        )

    def _called(self, topic: str) -> builtins.list[Any]:
        return [
            library.Call(**{**one, "mode": library.CallMode(one["mode"]), "instance": None})
            for one in self._ask("GET", "routes/called", {"topic": topic})
        ]

    def boot_order(self) -> Any:
        return library.BootOrder.model_validate(self._ask("GET", "boot-order"))

    def find_artifact(self, hash: str) -> builtins.list[Any]:  # noqa: A002 - its name
        return self._all(library.Artifact, "artifacts", hash=hash)

    def export_lines(self) -> Iterator[str]:
        answer = self._client.get(f"/v1/namespaces/{self.namespace}/export", params=self._at)
        return iter(answer.text.splitlines())


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return getattr(value, "value", value)


#: A block that holds something of the database open is for one process, and so are objects.
NOT_OFFERED = {"transaction", "snapshot", "run", "sync", "_database", "_runner", "_clock"}


class HttpRegistry(HttpView):
    """The writes too, the history and the leases."""

    def __getattr__(self, name: str) -> Any:
        if name in NOT_OFFERED:
            pytest.skip(f"the service does not offer {name}")
        raise AttributeError(name)

    def find_command(self, verb: str) -> Any:
        try:
            return library.Command.model_validate(self._ask("GET", f"commands/{verb}"))
        except library.NotFoundError:
            return None

    def compare(self, old: Any, new: Any, *, capsule_id: str | None = None) -> Any:
        if capsule_id is None:
            pytest.skip("the service compares what is registered")
        moments = {"before": str(old), "after": None if new is None else str(new)}
        found = self._ask("GET", f"capsules/{CapsuleId(capsule_id)}/comparison", moments)
        sides: dict[str, builtins.list[Any]] = {"added": [], "removed": []}
        for one in found:
            sides[one.pop("change")].append(one)
        return library.Comparison.model_validate(sides)

    def at(self, *, revision: int | None = None, time: datetime | None = None) -> HttpView:
        moment = str(revision) if time is None else time.isoformat()
        return HttpView(self._client, self.namespace, moment)

    @property
    def history(self) -> Any:
        return SimpleNamespace(
            revision=self._ask("GET", "anchor")["revision"],
            list=lambda **conditions: self._all(library.Revision, "history", **conditions),
            anchor=lambda: library.Anchor.model_validate(self._ask("GET", "anchor")),
            verify=self._verify,
        )

    @property
    def leases(self) -> Any:
        def opened(name: str, ttl: timedelta = timedelta(seconds=30), **_: Any) -> Any:
            body = {"name": name, "ttl": ttl.total_seconds()}
            return library.Lease.model_validate(self._change("POST", "leases", body)).id

        return SimpleNamespace(open=opened, list=lambda: self._all(library.Lease, "leases"))

    def _verify(self) -> Any:
        return SimpleNamespace(ok=True)

    def _change(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        generation = to_generation(options.pop("expected_generation", None))
        headers = {} if generation is None else {"If-Match": f'"{generation}"'}
        return self._ask(method, path, options, json=body, headers=headers)["result"]

    def register(self, capsule: Any, *, uuids: Iterable[Any] = (), **options: Any) -> Any:
        body = {**_given(capsule), "uuids": [str(to_uuid(one)) for one in uuids], **options}
        return capsule_of(self._change("POST", "capsules", body))

    def register_many(self, given: Iterable[Any]) -> builtins.list[Any]:
        body = {"manifests": [_given(one)["manifest"] for one in given]}
        return [capsule_of(one) for one in self._change("POST", "register-many", body)]

    def replace(
        self,
        capsule: Any,
        *,
        expected_generation: int | None = None,
        uuids: Iterable[Any] = (),
        **options: Any,
    ) -> Any:
        body = {**_given(capsule), "uuids": [str(to_uuid(one)) for one in uuids], **options}
        name = _manifest(capsule).package.name
        path = f"capsules/{name}"
        return capsule_of(self._change("PUT", path, body, expected_generation=expected_generation))

    def set_state(
        self, capsule_id: str, state: Any, reason: str | None = None, **options: Any
    ) -> Any:
        body = {"state": _plain(state), "state_reason": reason}
        path = f"capsules/{CapsuleId(capsule_id)}/state"
        return capsule_of(self._change("PUT", path, body, **options))

    def report_tools(self, capsule_id: str, tools: Iterable[Any], **options: Any) -> Any:
        body = [
            one if isinstance(one, dict) else json.loads(one.model_dump_json()) for one in tools
        ]
        path = f"capsules/{CapsuleId(capsule_id)}/tools"
        return capsule_of(self._change("PUT", path, body, **options))

    def rollback(self, capsule_id: str, to: Any = None, **options: Any) -> Any:
        generation = options.pop("expected_generation", None)
        moment = to.isoformat() if isinstance(to, datetime) else to
        path = f"capsules/{CapsuleId(capsule_id)}/rollback"
        body = {"to": moment, **options}
        return capsule_of(self._change("POST", path, body, expected_generation=generation))

    def unregister(self, capsule_id: str, **options: Any) -> Any:
        path = f"capsules/{CapsuleId(capsule_id)}"
        options = {name: _plain(value) for name, value in options.items()}
        return capsule_of(self._change("DELETE", path, **options))

    def drain(self) -> builtins.list[Any]:
        return [capsule_of(one) for one in self._change("POST", "drain")]

    def register_uuid(
        self, uuid: Any, capsule_id: str, *, lease: Any = None, **options: Any
    ) -> None:
        body = {"capsule_id": CapsuleId.storable(capsule_id), "lease": lease and str(lease)}
        self._change("PUT", f"uuids/{to_uuid(uuid)}", body, **options)

    def unregister_uuid(self, uuid: Any) -> bool:
        return bool(self._change("DELETE", f"uuids/{to_uuid(uuid)}"))

    def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None:
        body = {
            "capsule_id": CapsuleId.storable(capsule_id),
            "uplink": descriptor.model_dump(mode="json"),
        }
        self._change("POST", "uplinks", body)

    def unregister_uplink(self, uplink_id: Any) -> bool:
        return bool(self._change("DELETE", f"uplinks/{to_uuid(uplink_id)}"))

    def unregister_capsule_uplinks(self, capsule_id: str) -> int:
        return int(self._change("DELETE", f"capsules/{CapsuleId(capsule_id)}/uplinks"))

    def wait_ready(self, ids: Iterable[str], timeout: timedelta) -> Any:
        body = {"ids": [*ids], "timeout": timeout.total_seconds()}
        found = self._ask("POST", "wait-ready", json=body)
        return {CapsuleId(one): library.ReadyStatus(status) for one, status in found.items()}


def _manifest(capsule: Any) -> Any:
    found = getattr(capsule, "manifest", capsule)
    return found() if callable(found) else found


def _given(capsule: Any) -> dict[str, Any]:
    """Return what is told of a capsule: its manifest, and its state if it has one."""
    manifest = _manifest(capsule)
    text = manifest.text if manifest.format == "toml" else manifest.to_json()
    found = {"manifest": text}
    for name in ("state", "state_reason", "source_dir"):
        if (value := getattr(capsule, name, None)) is not None:
            found[name] = str(_plain(value() if callable(value) else value))
    return found

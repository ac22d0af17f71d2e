"""How the service does: signs of life, and metrics that tell what was done."""

from __future__ import annotations

import threading
from collections import namedtuple
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from capsule_registry import CapsuleNotFoundError, CapsuleRegistry, RegistryCollector
from capsule_registry.service import app, registries
from support.batches import in_one_batch
from support.factories import make_manifest, make_text
from support.injection import Injection
from support.lease_steps import wait_until
from support.services import BASE

if TYPE_CHECKING:
    import httpx

    from support.backends import Backend
    from support.services import Service

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values_of(text: str) -> Values:
    """Return the samples by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Values, name: str, namespace: str = "default", **labels: str) -> float:
    key = frozenset({("namespace", namespace), *labels.items()})
    return found[f"capsule_registry_{name}", key]


def collected(*opened: CapsuleRegistry) -> Values:
    found = CollectorRegistry()
    found.register(RegistryCollector(*opened))
    return values_of(generate_latest(found).decode())


def test_a_host_collects_what_its_registry_has_done(
    registry: CapsuleRegistry, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads and counts as the database has them; units, batches and retries as this process."""
    registry.register(make_manifest("a"), uuids=[UUID(int=1)])
    registry.register(make_manifest("b"))
    registry.set_state("b", "failed")
    registry.set_state("b", "failed")
    with pytest.raises(CapsuleNotFoundError):
        registry.set_state("c", "failed")
    registry.leases.open("one", renew=False)
    in_one_batch(registry, *(lambda: registry.register_uuid(uuid4(), "a") for _ in range(3)))
    registry.history.verify()
    Injection(registry, monkeypatch).arm(backend.error(backend.passing[0]), 1)
    registry.register(make_manifest("again"))

    found = collected(registry)

    head = registry.history.revision
    assert (1, head, 1) == tuple(value(found, name) for name in ("up", "revision", "leases"))
    assert [2, 1, 0] == [
        value(found, "capsules", state=state) for state in ("ready", "failed", "loading")
    ]
    units = {
        outcome: value(found, "unit_seconds_count", outcome=outcome)
        for outcome in ("made", "unchanged", "refused", "failed")
    }
    # The transaction in which those of the batch were gathered is of another kind.
    assert {"made": 8, "unchanged": 1, "refused": 1, "failed": 0} == units
    assert 1 == value(found, "retries_total")
    assert value(found, "batch_units_bucket", le="2.0") < value(found, "batch_units_count")
    assert value(found, "turn_seconds_count") >= value(found, "batch_units_count")
    assert (1, head - 1) == (value(found, "verified_well"), value(found, "verified_revision"))


def test_a_database_that_is_away_leaves_gaps(registry: CapsuleRegistry) -> None:
    """`up` is 0, and what the database would say is missing, not made up."""
    registry._database.closed = True
    found = collected(registry)
    registry._database.closed = False

    assert 0 == value(found, "up")
    assert not [name for name, _ in found if name == "capsule_registry_revision"]
    assert 0 == value(found, "retries_total")


def test_a_service_tells_its_metrics(service: Service, registry: CapsuleRegistry, url: str) -> None:
    """To those with a token, of the namespaces that they may see."""
    with CapsuleRegistry.open(url, namespace="mine"), service.client() as client:
        client.post(f"{BASE}/capsules", json={"manifest": make_text("a"), "uuids": [str(uuid4())]})
        client.post("/v1/namespaces/mine/capsules", json={"manifest": make_text("a")})
        question = {"uuid": str(registry.uuids()[0].uuid), "capability": "net", "value": "x"}
        for _ in range(5):
            client.post(f"{BASE}/check", json=question)
        with client.stream("GET", f"{BASE}/watch?after=0") as answer:
            lines = answer.iter_lines()
            assert "id: 2" in lines
            answer_to_all = client.get("/metrics")
            found = values_of(answer_to_all.text)
        with service.client("reader", "mine") as other:
            mine = values_of(other.get("/metrics").text)

    assert answer_to_all.headers["content-type"].startswith("text/plain")
    assert (1, 2, 1) == tuple(value(found, name) for name in ("up", "revision", "followers"))
    assert 0 == value(found, "follower_lag")
    assert 1 == value(found, "unit_seconds_count", outcome="made")
    ways = [value(found, "lookups_total", way=way) for way in ("memory", "database")]
    assert 5 <= sum(ways)
    assert 1 == value(found, "unit_seconds_count", namespace="mine", outcome="made")
    assert {"mine"} == {dict(labels)["namespace"] for _, labels in mine if dict(labels)}


def test_it_is_ready_while_the_database_is(
    service: Service, registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, its schema can be used, and there is room; it lives in any case."""
    with service.client(None) as client:
        assert {"status": "ready"} == client.get("/readyz").json()

        with monkeypatch.context() as patched:
            full = namedtuple("full", "free")  # noqa: PYI024 - stands for the real one
            patched.setattr(registries, "disk_usage", lambda _: full(1_000))
            is_file = registry._database.dialect.is_file
            assert (503 if is_file else 200) == client.get("/readyz").status_code
            assert 200 == client.get("/livez").status_code
        with monkeypatch.context() as patched:
            patched.setattr(registries.Registries, "list", _refused)
            assert 503 == client.get("/readyz").status_code


async def _refused(_: object) -> None:
    from capsule_registry import SchemaVersionError

    raise SchemaVersionError("v0009", "v0004", "upgrade")


def test_metrics_of_many_threads_add_up(registry: CapsuleRegistry) -> None:
    """None is lost, whoever counts."""

    def call() -> None:
        for _ in range(20):
            registry.register_uuid(uuid4(), "a")

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = collected(registry)

    assert 100 == value(found, "unit_seconds_count", outcome="made")
    assert 100 <= value(found, "batch_units_sum")  # One that is run again counts again.


def test_what_nobody_asks_for_is_closed(
    service: Service, registry: CapsuleRegistry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registries of other namespaces, with their connections; and opened again when asked."""
    monkeypatch.setattr(registries, "FORGOTTEN_SECONDS", 0.2)
    monkeypatch.setattr(app, "TIDY_SECONDS", 0.1)
    with CapsuleRegistry.open(url, namespace="mine"), service.client() as client:
        path = "/v1/namespaces/mine/capsules"
        with client.stream("GET", "/v1/namespaces/mine/watch") as answer:
            next(answer.iter_lines())
            assert {"mine", "default"} >= opened(client) >= {"mine"}
        wait_until(lambda: opened(client) == {"default"})
        assert 200 == client.get(path).status_code
        assert {"mine", "default"} == opened(client)


def opened(client: httpx.Client) -> set[str]:
    """Return the namespaces of which the service has a registry open."""
    found = values_of(client.get("/metrics").text)
    return {dict(labels)["namespace"] for name, labels in found if name.endswith("_up")}

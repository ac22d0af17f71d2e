"""
Metrics for Prometheus: of a service, and of a host that uses the library.

This needs `prometheus_client` alone.
"""

from __future__ import annotations

import logging
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.models.records import CapsuleState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from capsule_registry.api.registry import CapsuleRegistry
    from capsule_registry.database.measures import Distribution, Measures

logger: Final = logging.getLogger("capsule_registry")

_PREFIX: Final = "capsule_registry_"


class RegistryCollector(Collector):
    """
    Collects the metrics of *registries*, each of another namespace.

        REGISTRY.register(RegistryCollector(registry))

    That is a `prometheus_client.CollectorRegistry`. Each time it asks the database for heads,
    capsules by state and leases; if that fails, these are missing, and `capsule_registry_up` is 0.
    Everything else is of this process, since each registry was opened.
    """

    def __init__(self, *registries: CapsuleRegistry) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        families = Families()
        for registry in self._registries:
            families.add_state(registry)
            families.add_measures(registry.namespace, registry._database.measures)  # noqa: SLF001 - of one house
            families.add_database(registry)
            self.add_more(families, registry.namespace)
        yield from families.all.values()

    def add_more(self, families: Families, namespace: str) -> None:
        """Add what is known beside the registry."""

    def describe(self) -> list[Metric]:
        """Return nothing: what there is, is known only when it is collected."""
        return []


class Families:
    """The metrics by name, with a sample for each namespace."""

    def __init__(self) -> None:
        self.all: dict[str, Any] = {}
        self._heads: dict[str, int] = {}

    def add_state(self, registry: CapsuleRegistry) -> None:
        """Add what the database says."""
        name = registry.namespace
        try:
            head = registry.history.revision
            by_state = {state: registry.count(state=state) for state in CapsuleState}
            leases = len(registry.leases.list())
        except CapsuleRegistryError as error:
            logger.warning("Metrics are missing: %s", error)
            self._gauge("up", "Whether the database answers.", 0, namespace=name)
            return
        self._heads[name] = head
        self._gauge("up", "Whether the database answers.", 1, namespace=name)
        self._gauge("revision", "The head of the history.", head, namespace=name)
        for state, count in by_state.items():
            self._gauge("capsules", "Registered capsules.", count, namespace=name, state=state)
        self._gauge("leases", "Live leases.", leases, namespace=name)

    def add_measures(self, name: str, measures: Measures) -> None:
        """Add what has been done."""
        help_text = "Seconds that units took for their callers."
        for outcome, found in measures.units.items():
            self._histogram("unit_seconds", help_text, found, namespace=name, outcome=outcome)
        help_text = "Seconds that transactions waited for their turn."
        self._histogram("turn_seconds", help_text, measures.turns, namespace=name)
        help_text = "Units that shared a transaction."
        self._histogram("batch_units", help_text, measures.batches, namespace=name)
        help_text = "Transactions that were run again."
        self._counter("retries", help_text, measures.retries, namespace=name)
        self.add_lookups(name, "database", measures.lookups)
        if (last := measures.verified.get(name)) is not None:
            at = last.at.timestamp()
            self._gauge("verified_timestamp_seconds", "The last check.", at, namespace=name)
            help_text = "The revision that was checked last."
            self._gauge("verified_revision", help_text, last.revision, namespace=name)
            help_text = "Whether the last check found nothing wrong."
            self._gauge("verified_well", help_text, int(last.is_well), namespace=name)

    def add_lookups(self, name: str, way: str, count: int) -> None:
        """Add how many lookups were answered that way."""
        self._counter("lookups", "Lookups, by who answered.", count, namespace=name, way=way)

    def add_database(self, registry: CapsuleRegistry) -> None:
        """Add what the connections and the log take."""
        database, name = registry._database, registry.namespace  # noqa: SLF001 - of one house
        for pool, engine in (("write", database.engine), ("read", database.reader)):
            in_use = getattr(engine.pool, "checkedout", lambda: 0)()
            help_text = "Connections of the pools that are in use."
            self._gauge("connections", help_text, in_use, namespace=name, pool=pool)
        size = database.dialect.log_bytes(database.address.file)
        if size is not None:
            self._gauge("log_bytes", "The size of the write-ahead log.", size, namespace=name)

    def add_followers(self, name: str, positions: list[int]) -> None:
        """Add who follows, and how far the last of them is behind the head."""
        help_text = "Clients that follow the history."
        self._gauge("followers", help_text, len(positions), namespace=name)
        lag = max((self._heads.get(name, 0) - one for one in positions), default=0)
        help_text = "Revisions that the slowest of them has not been sent."
        self._gauge("follower_lag", help_text, max(lag, 0), namespace=name)

    def _gauge(self, name: str, text: str, value: float, **labels: str) -> None:
        self._family(GaugeMetricFamily, name, text, labels).add_metric([*labels.values()], value)

    def _counter(self, name: str, text: str, value: float, **labels: str) -> None:
        self._family(CounterMetricFamily, name, text, labels).add_metric([*labels.values()], value)

    def _histogram(self, name: str, text: str, found: Distribution, **labels: str) -> None:
        bounds = [*(str(float(one)) for one in found.bounds), "+Inf"]
        counted = [*zip(bounds, accumulate(found.counts), strict=True)]
        family = self._family(HistogramMetricFamily, name, text, labels)
        family.add_metric([*labels.values()], counted, found.sum)

    def _family(self, kind: type[Metric], name: str, text: str, labels: Iterable[str]) -> Any:  # noqa: ANN401 - of that kind
        if name not in self.all:
            make: Any = kind
            self.all[name] = make(_PREFIX + name, text, labels=[*labels])
        return self.all[name]

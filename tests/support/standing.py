"""A database in which a check is allowed, and the ways to ask it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    Decision,
    DecisionReason,
    OpenLease,
)
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from capsule_registry import RegistryReader

SESSION: Final = UUID("0000aaaa-0000-4000-8000-00000000000a")
QUESTION: Final = (SESSION, "kv", "key")
VERBS: Final = ("check", "is_allowed")
LIVE: Final = ("registry", "snapshot", "transaction")
PAST: Final = ("revision", "time")
WAYS: Final = (*LIVE, *PAST)


@dataclass
class Standing:
    """A registry in which `SESSION`, by a lease, may ask for `key`."""

    registry: CapsuleRegistry
    #: The revision asked for the past.
    revision: int
    #: The lease of the UUID, if this process opened it.
    lease: OpenLease | None = None

    def reading(self, way: str) -> AbstractContextManager[RegistryReader]:
        """Return the context manager of that way to ask."""
        ways: dict[str, Callable[[], AbstractContextManager[RegistryReader]]] = {
            "registry": lambda: nullcontext(self.registry),
            "snapshot": self.registry.snapshot,
            "transaction": self.registry.transaction,
            "revision": lambda: nullcontext(self.registry.at(revision=self.revision)),
            "time": lambda: nullcontext(self.registry.at(time=datetime.now(UTC))),
        }
        return ways[way]()

    def ask(self, way: str, verb: str, *question: Any, **options: Any) -> object:
        """Return the answer, or else the error that left the verb or the block."""
        answer: object = None
        try:
            with self.reading(way) as reader:
                try:
                    answer = getattr(reader, verb)(*(question or QUESTION), **options)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
                    answer = error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at
            answer = error if answer is None else answer
        return answer

    def answers(
        self, ways: Iterable[str] = WAYS, *question: Any, **options: Any
    ) -> Iterator[tuple[str, object]]:
        """Yield the answers of both verbs in all these ways, each with its name."""
        for way in ways:
            for verb in VERBS:
                yield f"{way} {verb}", self.ask(way, verb, *question, **options)

    def assert_allowed(self, ways: Iterable[str] = WAYS) -> None:
        """Assert that all allow: the control of the fault that follows."""
        found = {name: answer for name, answer in self.answers(ways) if not is_yes(answer)}
        assert {} == found, found

    def assert_denied(
        self,
        expected: DecisionReason | type[CapsuleRegistryError],
        ways: tuple[str, ...] = WAYS,
        *question: Any,
        **options: Any,
    ) -> None:
        """Assert that all deny or raise typed errors, and that the first answer is *expected*."""
        found = dict(self.answers(ways, *question, **options))
        wrong = {name: answer for name, answer in found.items() if not is_no(answer)}
        assert {} == wrong, wrong
        first = found[f"{ways[0]} check"]
        assert expected == (first.why if isinstance(first, Decision) else type(first))

    def forget(self) -> None:
        """Empty the registry's cache, so that it has to ask the database."""
        self.registry._lookups.close()

    def close(self) -> None:
        self.registry.close()


def stand(url: str, **options: Any) -> Standing:
    """Open the registry at *url*, and set it up so that the question is allowed."""
    registry = CapsuleRegistry.open(url, **options)
    registry.register(make_manifest("alpha", capabilities={"kv": ["other", "key"]}))
    registry.register(make_manifest("beta"))
    lease = registry.leases.open("worker", timedelta(hours=1), renew=False)
    lease.register_uuid(SESSION, "alpha")
    return Standing(registry, registry.history.revision, lease)


def is_yes(answer: object) -> bool:
    """Return whether *answer* allows."""
    return answer is True or (isinstance(answer, Decision) and answer.allowed is True)


def is_no(answer: object) -> bool:
    """Return whether *answer* denies or is a typed error."""
    return (
        answer is False
        or (isinstance(answer, Decision) and answer.allowed is False and answer.grant is None)
        or isinstance(answer, CapsuleRegistryError)
    )

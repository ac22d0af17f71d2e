"""
Random edits behind the registry's back: does `history.verify` find every one of them?

    python stress/tampering.py --database sqlite:////tmp/stress.db
    python stress/tampering.py --database postgresql://… --class "lease lengthened" --cases 50

Builds a registry with a varied history in two namespaces. Each case edits its rows or its schema
(see `support/tamperings.py`), verifies, and puts back what was there: with an earlier anchor, which
must find every edit, and without one, which may overlook a restored earlier state and a history
rewritten with all its hashes; what is found without an anchor is verified with one in every tenth
case alone. The other namespaces that a verification names are verified as well.
Before and after each class the registry must verify as it was built.

Prints counts by class, and each edit that passed but should not have, or that made the verification
raise an error that is not the registry's; then it exits with 1. That must happen with `--without`,
which takes out a check (see `support/checks.py`). On a server the URL's user has all rights.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry, CapsuleRegistryError
from support import checks
from support.forgeries import NAMESPACE
from support.tamperings import TAMPERINGS, Passes
from support.victims import build

if TYPE_CHECKING:
    from capsule_registry import Anchor, Verification
    from support.victims import Victim

_FOUND, _PASSED = "found", "passed"
#: The part of the edits found without an anchor that is verified with one too.
_TRIED_BOTH_WAYS: Final = 1 / 10


class Verifier:
    """Verifies one database by registries that stay open, each time in a new snapshot."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._registries: dict[str, CapsuleRegistry] = {}

    def verdict(self, anchor: Anchor | None) -> str:
        """Return `found`, `passed`, or the name of an error that is not the registry's."""
        try:
            result = self._verify(NAMESPACE, anchor)
            is_well = result.ok and all(self._verify(name).ok for name in result.others)
        except CapsuleRegistryError:
            return _FOUND
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            return type(error).__name__
        return _PASSED if is_well else _FOUND

    def _verify(self, namespace: str, anchor: Anchor | None = None) -> Verification:
        if namespace not in self._registries:
            opened = CapsuleRegistry.open(self._url, namespace=namespace, read_only=True)
            self._registries[namespace] = opened
        return self._registries[namespace].history.verify(anchor)

    def close(self) -> None:
        """Close the registries."""
        for registry in self._registries.values():
            registry.close()


@dataclass
class Tally:
    """Counts of the cases of one class: all, those found, and those that went wrong."""

    name: str
    passes: Passes
    cases: int = 0
    with_anchor: int = 0
    without: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, seen: str, blind: str) -> None:
        """Count a case, with its verdicts with and without an anchor."""
        self.cases += 1
        self.with_anchor += seen == _FOUND
        self.without += blind == _FOUND
        if seen != _FOUND and (seen, self.passes) != (_PASSED, Passes.BY_DESIGN):
            self.wrong[f"{seen}: {where}"] += 1
        elif blind != _FOUND and (blind != _PASSED or self.passes is Passes.NEVER):
            self.wrong[f"{blind} without an anchor: {where}"] += 1

    def report(self) -> None:
        """Print the counts, and each place where something went wrong."""
        may_pass = "" if self.passes is Passes.NEVER else f"may pass {self.passes.value}"
        counts = f"{self.cases:5} {self.with_anchor:21} {self.without:8}"
        print(f"{self.name:24} {counts}  {may_pass}".rstrip(), flush=True)
        for what, count in sorted(self.wrong.items()):
            print(f"    {count} {what}")


@dataclass(frozen=True)
class Run:
    """The registry to tamper with, and what verifies it."""

    victim: Victim
    verifier: Verifier

    def cases(self, name: str, count: int, seed: int) -> Tally:
        """Do *count* cases of one class."""
        chance = random.Random(f"{seed} {name}")  # noqa: S311 - nothing secret
        tampering = TAMPERINGS[name]
        tally = Tally(name, tampering.passes)
        for _ in range(count):
            revision = chance.choice(self.victim.chosen)
            self.victim.restore(revision)
            where = tampering.do(self.victim, revision, chance)
            blind = seen = self.verifier.verdict(None)
            # An anchor only adds to what is found, so it counts where something passed.
            if blind != _FOUND or chance.random() < _TRIED_BOTH_WAYS:
                seen = self.verifier.verdict(self.victim.states[revision].anchor)
            tally.add(where, seen, blind)
        return tally

    def require_sound(self) -> None:
        """Raise an error unless the registry verifies as it was built."""
        for revision in self.victim.chosen:
            self.victim.restore(revision)
            if self.verifier.verdict(self.victim.states[revision].anchor) != _PASSED:
                raise AssertionError(f"revision {revision} does not verify as it was built")


def main() -> int:
    """Build the registry, tamper with it, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--cases", type=int, default=500, help="of each class")
    parser.add_argument("--class", dest="classes", action="append", choices=TAMPERINGS)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--without", choices=checks.CHECKS, help="a check to take out")
    options = parser.parse_args()

    checks.take_out(options.without)
    victim = build(options.database, random.Random(options.seed))  # noqa: S311 - nothing secret
    print("histories of {} revisions, and of {}, a part of which was pruned".format(*victim.chosen))
    print(f"{'':24} cases  found with an anchor  without")
    run, wrong = Run(victim, Verifier(options.database)), 0
    run.require_sound()
    for name in options.classes or TAMPERINGS:
        if victim.store.name in TAMPERINGS[name].on:
            tally = run.cases(name, options.cases, options.seed)
            tally.report()
            wrong += tally.wrong.total()
            run.require_sound()
    run.verifier.close()
    victim.store.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

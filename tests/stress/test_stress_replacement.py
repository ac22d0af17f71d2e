"""Short runs of `stress/replacement.py`, each with the controls that must fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.stress_runs import run

if TYPE_CHECKING:
    from support.backends import Backend

pytestmark = pytest.mark.files_alone


@pytest.mark.stress
@pytest.mark.parametrize(("guard", "expected"), [(None, 0), ("unit", 1), ("transaction", 1)])
def test_nobody_sees_half_a_replacement(backend: Backend, guard: str | None, expected: int) -> None:
    """Four readers see whole generations; with two units, or none, one is missing or torn."""
    control = ["--without", guard] if guard else []
    sizes = ["--rounds", "15"]
    code, output = run(
        "replacement.py", "replace", "--database", backend.empty_url(), *sizes, *control
    )

    assert expected == code, output
    assert guard or "16 generations, 16 of them seen" in output
    assert guard != "unit" or "the capsule was missing" in output
    assert guard != "transaction" or " with {'" in output


@pytest.mark.stress
@pytest.mark.parametrize(("guard", "allowed"), [(None, 0), ("unit", 6), ("lease", 6)])
def test_a_failed_load_is_allowed_nothing(
    backend: Backend, guard: str | None, allowed: int
) -> None:
    """No UUID of a failed load is allowed anything; if registered separately first, all are."""
    control = ["--without", guard] if guard else []
    sizes = ["--rounds", "6"]
    code, output = run(
        "replacement.py", "load", "--database", backend.empty_url(), *sizes, *control
    )

    assert bool(guard) == code, output
    assert "6 loads failed" in output
    assert bool(guard) == (f"{allowed} of them were allowed what somebody else's" in output)
    assert ("lease" == guard) == ("6 of their UUIDs are left" in output)

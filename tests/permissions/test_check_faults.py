"""Faults: with any damage to the stored data, a check that was allowed is allowed in no way."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.faults import EVERYWHERE, Fault
from support.ground import Ground
from support.odd_values import FOR_GOOD, ONLY_IN_FILES, ONLY_ON_SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend, ServerBackend, SqliteBackend

pytestmark = pytest.mark.files_alone


@pytest.fixture(scope="module")
def ground(backend: Backend) -> Iterator[Ground]:
    """A database in which the check is allowed, and is again after each fault."""
    made = Ground(backend)
    yield made
    made.close()


@pytest.fixture(scope="module")
def file_ground(sqlite: SqliteBackend) -> Iterator[Ground]:
    """The same in a file."""
    made = Ground(sqlite)
    yield made
    made.close()


def name_of(fault: Fault) -> str:
    return fault.name


def test_there_are_faults_enough() -> None:
    """They are all different, and there are at least twenty."""
    for faults in (EVERYWHERE, ONLY_IN_FILES):
        assert 20 <= len(faults) == len({(fault.name, fault.statements) for fault in faults})


@pytest.mark.parametrize("fault", EVERYWHERE, ids=name_of)
def test_what_is_wrong_with_the_rows_denies(ground: Ground, fault: Fault) -> None:
    """Both verbs, however asked, deny what was allowed or raise a typed error."""
    with ground.struck_by(fault) as standing:
        standing.assert_denied(fault.expected, fault.ways)


@pytest.mark.parametrize("fault", ONLY_IN_FILES, ids=name_of)
def test_what_is_of_another_type_or_spelling_denies(file_ground: Ground, fault: Fault) -> None:
    """Where somebody undid the types, what the registry would not write is not trusted."""
    with file_ground.struck_by(fault) as standing:
        standing.assert_denied(fault.expected, fault.ways)


@pytest.mark.parametrize("number", range(4))
def test_a_time_that_python_has_not_denies(
    server: ServerBackend, ground: Ground, number: int
) -> None:
    """Servers have times beyond Python's calendar, and invalid ones."""
    fault = ONLY_ON_SERVERS[server.name][number]
    with ground.struck_by(fault) as standing:
        standing.assert_denied(fault.expected, fault.ways)


@pytest.mark.parametrize("number", range(4))
def test_a_column_whose_type_somebody_changed_denies(server: ServerBackend, number: int) -> None:
    """The registry would not write its values, or the server no longer compares them."""
    fault = FOR_GOOD[server.name][number]
    with closing(Ground(server)) as ground:
        ground.strike(fault)
        ground.standing.assert_denied(fault.expected, fault.ways)

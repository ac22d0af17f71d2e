"""
The contract of the library, kept over HTTP: its own tests, with a client in place of a registry.

What the service does not offer is named, with the reason.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from capsule_registry import RegistryAdmin
from support.http_registry import HttpRegistry
from support.services import Service, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend

MODULES = (
    "registry.test_capsules",
    "registry.test_declarations",
    "registry.test_dependencies",
    "registry.test_replacement",
    "registry.test_generations",
    "registry.test_routes",
    "registry.test_uplinks",
    "permissions.test_check_many",
    "permissions.test_check_questions",
)
#: Of values that are none of JSON, or not of the types that are described: those are a 422.
OTHER_VALUES = (
    *("a_generation_that_is_no_number_is_refused", "a_member_of_another_kind_is_invalid_input"),
    *("a_member_that_fails_is_not_a_member_that_is_missing", "each_is_answered_as_it_is_alone"),
    *("a_reported_tool_that_cannot_be_stored_is_refused", "what_cannot_be_gone_back_to_is_told"),
    *("a_text_that_no_database_holds_is_refused", "what_is_no_question_is_refused"),
    *("any_predicate_finds_what_asking_each_uplink_finds", "what_is_no_tool_is_refused"),
    *("what_is_no_topic_is_refused", "what_some_database_cannot_hold_is_refused_by_all"),
    "commands_are_listed_by_kind",
    "an_uplink_filed_by_hand_comes_back_as_it_was_given",  # JSON is normalised as it is read.
)
#: Of objects, which stay in their process, and of what only that has.
OBJECTS = (
    *("a_manifest_changed_after_it_was_parsed_is_stored_as_it_is", "all_are_of_one_moment"),
    *("a_page_after_nothing_is_an_error", "an_object_survives_a_slower_thread_that_was_there"),
    *("a_record_of_what_was_rolled_back_has_no_instance", "it_is_one_statement_by_index"),
    *("an_object_whose_id_is_not_its_manifests_is_refused", "new_uuids_belong_to_the_lease"),
    *("an_older_record_does_not_cost_the_newer_its_instance", "only_who_is_ready_is_called"),
    *("instances_survive_what_other_threads_do", "objects_follow_the_replacement"),
    *("repr_shows_counts_and_ten_ids", "several_reported_tools_of_one_name_are_kept"),
    *("tools_that_the_object_reports_win", "the_wrong_incarnation_is_never_touched"),
    "what_stood_at_a_pruning_can_be_gone_back_to",
)
# Each namespace takes connections of its own: more of a server than it has, all at once.
pytestmark = pytest.mark.files_alone
#: Fixtures of tests that look behind the curtain.
OFFERED_NOT = {"clock", "url", "writer", "monkeypatch", "caplog", "server"}


_numbers = count()


@pytest.fixture(scope="module")
def place(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service of one database, which gets a namespace for each test."""
    url, tokens = backend.new_url(), tmp_path_factory.mktemp("service") / "tokens"
    with served(url, tokens) as service, RegistryAdmin.open(url) as admin:
        yield Place(service, admin)


@pytest.fixture
def registry(place: Place, request: pytest.FixtureRequest) -> Iterator[HttpRegistry]:
    """A client with the verbs of a registry, of a namespace of its own."""
    if OFFERED_NOT & signature(request.function).parameters.keys():
        pytest.skip("the service has the database's own clock, and files of its own")
    name = f"contract-{next(_numbers)}"
    place.admin.create_namespace(name)
    with place.service.client() as client:
        yield HttpRegistry(client, name)


class Place(NamedTuple):
    """A service, and the administration of its database."""

    service: Service
    admin: RegistryAdmin


def _is_left_out(name: str) -> bool:
    return name.removeprefix("test_").startswith((*OTHER_VALUES, *OBJECTS))


def _adopt() -> Iterator[tuple[str, Any]]:
    """Yield the tests of the modules, by names that tell their origin, and their fixtures."""
    for module in MODULES:
        pytest.register_assert_rewrite(module)
        for name, found in vars(import_module(module)).items():
            if name.startswith("test_") and not _is_left_out(name):
                yield f"{name}__{module.rpartition('.')[2].removeprefix('test_')}", found
            elif type(found).__name__ == "FixtureFunctionDefinition":
                yield name, found


globals().update(_adopt())

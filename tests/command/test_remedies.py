"""What an error says is to be done can be done, as it is written."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleRegistry, SchemaVersionError
from capsule_registry.schema.version import SCHEMA_VERSION
from support.commands import invoke, run, run_json
from support.factories import make_manifest

if TYPE_CHECKING:
    from support.backends import Backend, ServerBackend, SqliteBackend

#: Options that the command needs as well, and one that is not to be shown.
OPTIONS = {
    "postgresql": ({"options": "-c search_path=public -c lock_timeout=7s"}, "krbsrvname"),
    "mariadb": ({"charset": "utf8mb4", "connect_timeout": "7"}, "init_command"),
}


def given(url: str, **options: str) -> str:
    return sa.make_url(url).update_query_dict(options).render_as_string(hide_password=False)


def refusal(url: str) -> str:
    """Return what a verb says of a schema on which it cannot run."""
    with pytest.raises(SchemaVersionError) as caught:
        CapsuleRegistry.open(url, read_only=True)
    return str(caught.value)


def test_the_command_that_is_named_upgrades(backend: Backend) -> None:
    """It has the user and the options of the URL, and is quoted for a shell."""
    url = backend.empty_url()
    if backend.is_server:
        url = given(url, **OPTIONS[backend.name][0])
    else:
        url = url.replace("registry", "a registry; its path")
        backend.rows(url, "CREATE TABLE diary (entry TEXT)")
    [line] = re.findall(r"`(.+)`", refusal(url))
    name, *words = shlex.split(line)

    assert "capsule-registry" == name
    assert 0 == invoke(*words).exit_code
    CapsuleRegistry.open(url).close()
    if backend.is_server:
        shown, wanted = sa.make_url(words[1]), sa.make_url(url)
        assert (wanted.username, wanted.query) == (shown.username, shown.query)


def test_what_may_be_secret_is_named_and_not_shown(server: ServerBackend) -> None:
    """The remedy says which parts of the URL are to be added."""
    option = OPTIONS[server.name][1]
    value = {"krbsrvname": "canary", "init_command": "SET @x = 'canary'"}[option]
    said = refusal(given(server.as_user(server.empty_url(), "SELECT"), **{option: value}))

    assert "canary" not in said
    assert f"add to the URL its {', '.join(sorted(['password', option]))}" in said


def test_doctor_and_the_verbs_say_the_same_of_a_schema(backend: Backend, url: str) -> None:
    """Of a newer one, and of one whose two records of its version differ."""
    newer = "INSERT INTO schema_versions (version, applied_at, library_version, oldest_compatible)"
    row = "SELECT 'v9999', max(applied_at), '9', 'v9998' FROM schema_versions"
    stamp = "UPDATE capsule_registry_version SET version_num ="
    try:
        for statements, words in (
            ([f"{newer} {row}", f"{stamp} 'v9999'"], "install a newer"),
            (["DELETE FROM schema_versions WHERE version = 'v9999'"], "install a newer"),
            ([f"{stamp} 'v0000'"], "restore it from a backup"),
        ):
            for statement in statements:
                backend.rows(url, statement)
            [found] = [row for row in rows_of_doctor(url) if row["name"] == "schema version"]
            assert words in str(found["problem"])
            assert found["problem"] == refusal(url)
            assert refusal(url) in run(url, "namespaces", "create", "x").stderr
    finally:
        backend.rows(url, "DELETE FROM schema_versions WHERE version = 'v9999'")
        backend.rows(url, f"{stamp} '{SCHEMA_VERSION}'")


def rows_of_doctor(url: str) -> list[dict[str, str | None]]:
    """Return the findings of `doctor`, which exits with 1 if anything is wrong."""
    rows: list[dict[str, str | None]] = json.loads(run(url, "doctor", "--format", "json").stdout)
    return rows


def test_an_error_says_once_that_it_is_one(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """Also where it is found while a connection is made."""
    linked = tmp_path / "linked.db"
    os.link(sqlite.new_url().removeprefix("sqlite:///"), linked)
    for place in (tmp_path, linked):
        for command in (["list"], ["doctor"], ["register", "."], ["sql"], ["db", "status"]):
            said = run(f"sqlite:///{place}", *command).stderr
            assert 1 == said.count("Invalid database") == said.count(str(place)), said


def test_a_new_file_is_made_by_whatever_creates_something_in_it(sqlite: SqliteBackend) -> None:
    """`namespaces create` makes and migrates it as `register` does."""
    url = sqlite.empty_url()

    assert 0 == run(url, "namespaces", "create", "other").exit_code
    assert ["other"] == [row["name"] for row in run_json(url, "namespaces", "list")]
    with CapsuleRegistry.open(url, namespace="other") as registry:
        registry.register(make_manifest())
    empty = sqlite.empty_url()
    Path(empty.removeprefix("sqlite:///")).touch(mode=0o600)
    assert 0 == run(empty, "namespaces", "create", "other").exit_code


@pytest.mark.parametrize("command", ["namespaces drop default", "db accept-restore"])
def test_what_needs_something_there_makes_no_file(sqlite: SqliteBackend, command: str) -> None:
    """A mistyped path is an error, and nothing is left behind."""
    url = sqlite.empty_url()
    result = run(url, *command.split())

    assert 7 == result.exit_code
    assert "does not exist" in result.stderr
    assert not Path(url.removeprefix("sqlite:///")).exists()

"""Server roles with the rights that `db grants` prints: each can do its part, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
)
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import ServerBackend, SqliteBackend


@pytest.fixture
def filled(server: ServerBackend, url: str) -> Iterator[CapsuleRegistry]:
    """A registry with a capsule registered by the owner of the database."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest("before", uplink=[TELEGRAM]), uuids=[uuid4()])
        yield registry


def role(server: ServerBackend, url: str, kind: str) -> str:
    """Return the URL for a new user with the printed rights of a *kind*."""
    mine = server.as_user(url, "")
    name = sa.make_url(mine).username
    with RegistryAdmin.open(url, read_only=True) as admin:
        for statement in admin.grants(**{kind: [name]}):  # type: ignore[arg-type]
            server.rows(url, statement)
    return mine


def test_a_writer_only_adds_to_the_history(
    filled: CapsuleRegistry, server: ServerBackend, url: str
) -> None:
    """It may use every verb, also in a new namespace, but not prune, drop or edit."""
    mine = role(server, url, "writers")
    with CapsuleRegistry.open(mine) as writer:
        writer.register(make_manifest("after", uplink=[TELEGRAM]), uuids=[uuid4()])
        writer.unregister("before")
        assert ["after"] == writer.list() == filled.list()
        assert writer.history.verify().ok
        with pytest.raises(PermissionDeniedError):
            writer.history.prune(writer.history.anchor())
        assert 1 == writer.history.list()[0].revision
        writer.drain()
    CapsuleRegistry.open(mine, namespace="of-its-own").close()
    with RegistryAdmin.open(mine) as admin, pytest.raises(PermissionDeniedError):
        admin.drop_namespace("of-its-own")
    for statement in ("UPDATE events SET subject = 'x'", "DELETE FROM revisions"):
        with pytest.raises(sa.exc.DBAPIError, match=r"(denied|permission)"):
            server.rows(mine, statement)


def test_a_reader_sees_what_is_registered(
    filled: CapsuleRegistry, server: ServerBackend, url: str
) -> None:
    """It may read tables and views but not who did what, and changes nothing."""
    mine = role(server, url, "readers")
    with CapsuleRegistry.open(mine, read_only=True) as reader:
        assert ["before"] == reader.list()
        assert filled.find_uplinks() == reader.find_uplinks()
        with pytest.raises(PermissionDeniedError):
            reader.history.list()
    with CapsuleRegistry.open(mine) as reader, pytest.raises(PermissionDeniedError):
        reader.unregister("before")
    assert [("before",)] == server.rows(mine, "SELECT id FROM registered_capsules")


def test_an_auditor_sees_everything(
    filled: CapsuleRegistry, server: ServerBackend, url: str
) -> None:
    """It reads and verifies the history, and changes nothing."""
    mine = role(server, url, "auditors")
    with CapsuleRegistry.open(mine, read_only=True) as auditor:
        assert auditor.history.verify(filled.history.anchor()).ok
        assert filled.history.list() == auditor.history.list()
        assert ["before"] == auditor.at(revision=2).list()
    with CapsuleRegistry.open(mine) as auditor, pytest.raises(PermissionDeniedError):
        auditor.register(make_manifest())


def test_a_file_has_no_roles(sqlite: SqliteBackend) -> None:
    """The error says what to use instead."""
    with (
        RegistryAdmin.open(sqlite.new_url()) as admin,
        pytest.raises(InvalidDatabaseError, match="modes"),
    ):
        admin.grants(readers=["r"])

"""The rules of today's runtime, with the answers of its own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry.manifest.matching import subtree_matches, topic_matches
from capsule_registry.manifest.matchings import Matching
from capsule_registry.permissions.judgement import DecisionReason, Entry, judge
from capsule_registry.permissions.ports import is_loopback
from support.rules import verdict
from support.vector_files import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The reasons that the answers of the vectors stand for.
REASONS = {
    "allowed": DecisionReason.GRANTED,
    "denied": DecisionReason.NOT_GRANTED,
    "invalid": DecisionReason.MALFORMED_VALUE,
    "airlock": DecisionReason.NOT_LOOPBACK,
}


def why(
    capability: str, matching: Matching, entries: Iterable[str], value: object
) -> DecisionReason:
    return verdict(capability, matching, entries, value).why


def of(name: str) -> list[dict[str, Any]]:
    return rows(f"today/{name}")


def test_a_subtree_is_covered_and_one_segment_is_called() -> None:
    """The right covers what lies below; who is called is found by the one-segment matcher."""
    for row in of("topic_match"):
        found = {
            "covers": subtree_matches(row["topic"], row["entry"]),
            "dispatch": topic_matches(row["topic"], row["entry"]),
        }
        assert {name: row[name] for name in found} == found, row


def test_topics_are_allowed_as_by_the_runtime() -> None:
    """Limits first, which are malformed, then whether an entry covers the topic or pattern."""
    for row in of("topic_rights"):
        found = why(row["capability"], Matching.SUBTREE, row["entries"], row["ask"])
        assert REASONS[row["answer"]] == found, row


def test_connections_are_allowed_as_by_the_runtime() -> None:
    """By host and port; the host is compared ignoring ASCII case, and `*` is no host."""
    for row in of("net_connect"):
        value = f"{row['host']}:{row['port']}"
        found = why("net_connect", Matching.HOST_PORT, row["entries"], value)
        assert (row["answer"] == "allowed") == (found is DecisionReason.GRANTED), row


def test_binding_is_allowed_as_by_the_runtime() -> None:
    """To the socket by an entry for it; to an address by host and port, if that is loopback."""
    for row in of("net_bind"):
        if "loopback_host" in row:
            assert row["loopback"] == is_loopback(row["loopback_host"]), row
            continue
        values = [None, "unix:/x"] if row.get("socket") else [f"{row['host']}:{row['port']}"]
        for value in values:
            found = why("net_bind", Matching.BIND, row["entries"], value)
            is_malformed = row.get("host") == ""
            expected = DecisionReason.MALFORMED_VALUE if is_malformed else REASONS[row["answer"]]
            assert expected is found, row


def test_hosts_are_never_allowed_where_the_runtime_denies() -> None:
    """Odd URLs are read more strictly on purpose; a bare host is the product's own convenience."""
    stricter = 0
    for row in of("net"):
        if "://" not in row["url"] and row["answer"] == "invalid":
            continue
        found = why("net", Matching.HOST, row["entries"], row["url"])
        if row["answer"] == "allowed":
            stricter += found is not DecisionReason.GRANTED
        else:
            assert DecisionReason.GRANTED is not found, row
    assert 18 == stricter


def test_paths_are_allowed_as_by_the_runtime() -> None:
    """But where it takes a path for one of the host itself by accident: there none is covered."""
    for row in of("files"):
        entries = row.get("entries") or row.get("entries_fs_read") or []
        if "entries_fs_read" in row and row["capability"] == "fs_write":
            entries = []
        found = why(row["capability"], Matching.PATH, entries, row["path"])
        expected = row["answer"] == "allowed" and "quirk" not in row
        assert expected == (found is DecisionReason.GRANTED), row


def test_commands_and_operations_are_allowed_as_by_the_runtime() -> None:
    """A program by its words, an operation on identities by the level that it needs."""
    for row in of("process_identity_flags"):
        if row["capability"] == "host_process":
            found = why("host_process", Matching.PROGRAM, row["entries"], row["command"])
        elif row["capability"] == "identity":
            found = why("identity", Matching.OPERATION, row["entries"], row["operation"])
        else:
            continue
        assert (row["answer"] == "allowed") == (found is DecisionReason.GRANTED), row


@pytest.mark.parametrize("operation", ["unlink", "list_links", "create_user"])
def test_operations_are_asked_of_todays_hosts_alone(operation: str) -> None:
    """By the rules of 0.2.0 only the levels are understood."""
    assert DecisionReason.GRANTED is why("identity", Matching.OPERATION, ["admin"], operation)
    assert DecisionReason.MALFORMED_VALUE is why("identity", Matching.LEVEL, ["admin"], operation)
    assert DecisionReason.GRANTED is why("identity", Matching.LEVEL, ["admin"], "link")


LEVELS = {"resolve": 1, "link": 2, "admin": 3}
NEEDED = {**LEVELS, "unlink": 2, "list_links": 2, "create_user": 3}


@pytest.mark.parametrize("entry", LEVELS)
@pytest.mark.parametrize("operation", NEEDED)
def test_an_operation_needs_its_level_or_a_higher_one(operation: str, entry: str) -> None:
    """Links are seen, made and undone by `link`, users made by `admin` alone."""
    is_enough = LEVELS[entry] >= NEEDED[operation]
    expected = DecisionReason.GRANTED if is_enough else DecisionReason.NOT_GRANTED
    assert expected is why("identity", Matching.OPERATION, [entry], operation)


@pytest.mark.parametrize("matching", [Matching.COMMAND, Matching.PROGRAM])
@pytest.mark.parametrize("command", ["git\0", "git \0", "\0", b"git", None, ["git"]])
def test_no_command_has_a_nul_or_is_no_text(matching: Matching, command: object) -> None:
    """Programs read it up to there: so it is malformed, whatever the entry."""
    entries = ["git", "git\0", "\0"]
    assert DecisionReason.MALFORMED_VALUE is why("host_process", matching, entries, command)
    assert DecisionReason.GRANTED is why("host_process", matching, entries, "git x")


@pytest.mark.parametrize("matching", [Matching.SEGMENTS, Matching.SUBTREE])
@pytest.mark.parametrize(
    ("capability", "value", "expected"),
    [
        ("ipc_publish", "a." + "b" * 254, DecisionReason.GRANTED),
        ("ipc_publish", "a." + "b" * 255, DecisionReason.MALFORMED_VALUE),
        ("ipc_publish", "a." + "\u00e9" * 127, DecisionReason.GRANTED),
        ("ipc_publish", "a." + "\u00e9" * 128, DecisionReason.MALFORMED_VALUE),
        ("ipc_publish", "a.\ud800", DecisionReason.MALFORMED_VALUE),
        ("ipc_publish", "a.b.c.d.e.f.g.h.i", DecisionReason.MALFORMED_VALUE),
        ("ipc_publish", "*.b", DecisionReason.NOT_GRANTED),
        ("ipc_publish", None, DecisionReason.MALFORMED_VALUE),
        ("ipc_subscribe", "a.*", DecisionReason.GRANTED),
        ("ipc_subscribe", "*.b", DecisionReason.MALFORMED_VALUE),
        ("ipc_subscribe", "b*.c", DecisionReason.NOT_GRANTED),
        ("ipc_subscribe", "a.*.c", DecisionReason.MALFORMED_VALUE),
    ],
)
def test_a_topic_is_within_the_limits_of_its_host(
    matching: Matching, capability: str, value: Any, expected: DecisionReason
) -> None:
    """256 bytes of UTF-8, eight segments; a `*` that is asked for stands last alone."""
    assert expected is why(capability, matching, ["a.*"], value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.example", DecisionReason.GRANTED),  # To resolve it.
        ("a.example:0", DecisionReason.GRANTED),
        ("a.example:443", DecisionReason.NOT_GRANTED),
        ("A.EXAMPLE", DecisionReason.GRANTED),
        ("", DecisionReason.MALFORMED_VALUE),
        (":1", DecisionReason.MALFORMED_VALUE),
        ("a.example:", DecisionReason.MALFORMED_VALUE),
        ("a.example:65536", DecisionReason.MALFORMED_VALUE),
        ("a.example:+1", DecisionReason.MALFORMED_VALUE),
        ("a.example:\u0661", DecisionReason.MALFORMED_VALUE),
        ("a.example\0:0", DecisionReason.MALFORMED_VALUE),
        ("x" * 255, DecisionReason.NOT_GRANTED),
        ("x" * 256, DecisionReason.MALFORMED_VALUE),
        ("\ud800:1", DecisionReason.MALFORMED_VALUE),
        ("a.example:65535", DecisionReason.NOT_GRANTED),
        *((f"a{one}b:0", DecisionReason.MALFORMED_VALUE) for one in "/\\?#@"),
        ("::1", DecisionReason.MALFORMED_VALUE),  # Else `:` and the port 1.
        (None, DecisionReason.MALFORMED_VALUE),
        (443, DecisionReason.MALFORMED_VALUE),
    ],
)
def test_a_host_alone_asks_to_resolve_it(value: Any, expected: DecisionReason) -> None:
    """Only an entry for port 0, or any, allows that; what is neither is malformed."""
    assert expected is why("net_connect", Matching.HOST_PORT, ["a.example:0", "::1"], value)


@pytest.mark.parametrize("entry", ["443", "*", "+443", "a.example", ""])
@pytest.mark.parametrize("value", ["a.example:443", "a.example:0", "a.example", "443"])
def test_an_entry_without_a_port_covers_no_connection(entry: str, value: str) -> None:
    """Neither as a host nor as a port."""
    assert DecisionReason.NOT_GRANTED is why("net_connect", Matching.HOST_PORT, [entry], value)


@pytest.mark.parametrize("matching", [Matching.SOCKET, Matching.BIND, Matching.ANY_OR_BIND])
@pytest.mark.parametrize("value", [80, True, b"unix:/x", ["unix:/x"], "", "unix:\0"])
def test_what_is_no_address_is_not_bound_to(matching: Matching, value: object) -> None:
    """It asks for no socket either: only a name does, or no value at all."""
    entries = ["unix:*", "127.0.0.1:80"]
    assert DecisionReason.MALFORMED_VALUE is why("net_bind", matching, entries, value)
    assert DecisionReason.GRANTED is why("net_bind", matching, entries, None)


@pytest.mark.parametrize(
    ("matching", "entry", "value", "expected"),
    [
        (Matching.SOCKET, "127.0.0.1:80", None, DecisionReason.GRANTED),
        (Matching.SOCKET, "127.0.0.1:80", "unix:/x", DecisionReason.GRANTED),
        (Matching.SOCKET, "127.0.0.1:80", "127.0.0.1:80", DecisionReason.NOT_GRANTED),
        (Matching.SOCKET, "", None, DecisionReason.NOT_GRANTED),
        (Matching.ANY_OR_BIND, "127.0.0.1:80", None, DecisionReason.GRANTED),
        (Matching.ANY_OR_BIND, "127.0.0.1:80", "127.0.0.1:80", DecisionReason.GRANTED),
        (Matching.ANY_OR_BIND, "127.0.0.1:80", "unix:/x", DecisionReason.NOT_GRANTED),
        (Matching.ANY_OR_BIND, "unix:*", "127.0.0.1:80", DecisionReason.NOT_GRANTED),
        (Matching.ANY_OR_BIND, "0.0.0.0:80", "0.0.0.0:80", DecisionReason.NOT_LOOPBACK),
        (Matching.BIND, "127.0.0.1:80", None, DecisionReason.NOT_GRANTED),
        (Matching.BIND, "unix:80", "unix:80", DecisionReason.NOT_LOOPBACK),  # A host of that name.
        (Matching.BIND, "::1:80", "::1:80", DecisionReason.GRANTED),
        (Matching.BIND, "::ffff:127.0.0.1:80", "::ffff:127.0.0.1:80", DecisionReason.NOT_LOOPBACK),
        (Matching.BIND, "127.1:80", "127.1:80", DecisionReason.NOT_LOOPBACK),
    ],
)
def test_binding_is_allowed_by_the_rule_of_each_runtime(
    matching: Matching, entry: str, value: str | None, expected: DecisionReason
) -> None:
    """Until 0.10.4 any entry gives the socket and none an address; 0.2.0's form asks both ways."""
    assert expected is why("net_bind", matching, [entry], value)


def test_an_entry_that_does_not_count_explains_a_denial() -> None:
    """Only where it would have allowed the value; one that counts allows, wherever it stands."""
    unread = Entry("a.*", Matching.SEGMENTS, counts=False)
    counting = Entry("a.b", Matching.SUBTREE, counts=True)
    ask = "ipc_publish"

    assert DecisionReason.NOT_READ_BY_RUNTIME is judge(ask, [unread], "a.b").why
    assert DecisionReason.NOT_GRANTED is judge(ask, [unread], "b.b").why
    assert (DecisionReason.GRANTED, "a.b") == judge(ask, [unread, counting], "a.b")
    assert DecisionReason.NOT_READ_BY_RUNTIME is judge(ask, [unread, counting], "a.c").why


def test_a_row_without_a_matching_is_a_fault() -> None:
    """It covers nothing: to look up its rule fails, which denies and is logged."""
    with pytest.raises(KeyError):
        judge("net", [Entry("*", Matching.NOTHING, counts=True)], "a.example")

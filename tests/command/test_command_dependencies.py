"""The commands that ask who may do what, and who needs whom, and draw it."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

import capsule_registry as library
from capsule_registry import CapsuleRegistry
from support.commands import EVIL, run, run_json
from support.factories import CLI, make_manifest

pytestmark = pytest.mark.files_alone


NEEDY = make_manifest(
    "needy",
    dependencies={"requires": ["topic:news.*", "tool:gone"]},
    interceptor=[{"event": "news.*", "action": "read"}],
    capabilities={"net": ["example.org"]},
)


NEWS = make_manifest("news", capabilities={"ipc_publish": ["news.today"]}, uplink=[CLI])


ASKED: dict[str, tuple[tuple[str, ...], list[dict[str, Any]]]] = {
    "grants": (
        ("--capability", "net", "--value", "https://example.org/x"),
        [
            {
                "capsule_id": "needy",
                "capability": "net",
                "value": "example.org",
                "state": "ready",
                "matching": "host_any_case",
                "place": "capabilities",
                "read_by": "*",
                "counts": True,
            }
        ],
    ),
    "interceptors": (("news.today",), [{"capsule_id": "needy", "action": "read"}]),
    "providers": (
        ("topic:news.*",),
        [
            {
                "capsule_id": "news",
                "capability": "topic:news.today",
                "state": "ready",
                "version": None,
            }
        ],
    ),
}


DOT = re.compile(r'\s*("(?:[^"\\]|\\.)*"|->|[{}\[\];=,]|\w+)', re.DOTALL)


@pytest.fixture
def needs(registry: CapsuleRegistry) -> CapsuleRegistry:
    """Two capsules: one needs the other, and something that nobody provides."""
    registry.register(NEEDY)
    registry.register(NEWS)
    return registry


@pytest.mark.parametrize("command", ASKED)
def test_a_table_csv_and_json_say_the_same(needs: CapsuleRegistry, url: str, command: str) -> None:
    """JSON has the documented members; table and CSV have the same rows."""
    arguments, expected = ASKED[command]
    cells = [*csv.DictReader(io.StringIO(run(url, command, *arguments, "--format", "csv").stdout))]
    table = run(url, command, *arguments)

    in_cells = [
        {name: {True: "yes", None: ""}.get(value, value) for name, value in row.items()}
        for row in expected
    ]
    assert expected == run_json(url, command, *arguments)
    assert in_cells == cells
    assert (0, "") == (table.exit_code, table.stderr)
    assert all(value in table.stdout for value in in_cells[0].values())


@pytest.mark.parametrize("command", ASKED)
def test_each_answers_as_it_would_have_then(needs: CapsuleRegistry, url: str, command: str) -> None:
    """`--at` answers as of that revision; before any registration, with nothing."""
    arguments, expected = ASKED[command]
    head = str(needs.history.revision)
    needs.drain()

    assert [] == run_json(url, command, *arguments)
    assert expected == run_json(url, command, *arguments, "--at", head)
    assert [] == run_json(url, command, *arguments, "--at", "1")
    assert 5 == run(url, command, *arguments, "--at", "99").exit_code


def test_grants_are_listed_by_all_conditions(needs: CapsuleRegistry, url: str) -> None:
    """All given conditions must match; without any, all grants are listed."""
    assert ["needy", "news"] == [row["capsule_id"] for row in run_json(url, "grants")]
    assert ["news"] == [row["capsule_id"] for row in run_json(url, "grants", "--capsule", "news")]
    assert [] == run_json(url, "grants", "--capability", "net", "--capsule", "news")


def test_the_boot_order_is_printed_with_what_stands_in_the_way(
    needs: CapsuleRegistry, url: str
) -> None:
    """Ids go to standard output, unmet requirements to standard error; a cycle exits with 1."""
    result = run(url, "boot-order")
    assert (0, "news\nneedy\n") == (result.exit_code, result.stdout)
    assert "unmet: needy requires tool:gone\n" == result.stderr
    unmet: dict[str, Any] = {"capsule_id": "needy", "requirement": "tool:gone"}
    unmet |= {"providers": [], "version": None, "optional": False}
    found = {"order": ["news", "needy"], "unmet": [unmet], "cycle": [], "shared": []}
    assert found == run_json(url, "boot-order")

    needs.register(
        make_manifest("gone", dependencies={"requires": ["tool:y"], "provides": ["tool:x"]})
    )
    needs.register(
        make_manifest("back", dependencies={"requires": ["tool:x"], "provides": ["tool:y"]})
    )
    circle = run(url, "boot-order", "--format", "json")
    assert (1, ["gone", "back"]) == (circle.exit_code, json.loads(circle.stdout)["cycle"])
    assert "in a circle, or waiting for one: gone, back" in circle.stderr
    assert (0, "news\nneedy\n") == (
        (then := run(url, "boot-order", "--at", "3")).exit_code,
        then.stdout,
    )


def parsed(dot: str) -> tuple[set[str], set[tuple[str, str, str]]]:
    """Return the nodes and the labelled edges of a graph in Graphviz's DOT language."""
    words = [match[1] for match in DOT.finditer(dot)]
    assert "".join(dot.split()) == "".join("".join(words).split())
    assert ["digraph", "capsules", "{", "}"] == [*words[:3], words[-1]]
    nodes, edges, statement = set(), set(), list[str]()
    for word in words[3:-1]:
        if word != ";":
            statement.append(re.sub(r"\\(.)", r"\1", word[1:-1]) if word[0] == '"' else word)
            continue
        label = statement[statement.index("label") + 2] if "label" in statement else ""
        if statement[1:2] == ["->"]:
            edges.add((statement[0], statement[2], label))
        else:
            nodes.add(statement[0])
        statement = []
    assert [] == statement
    return nodes, edges


def test_a_graph_for_graphviz_has_a_node_each_and_an_arrow_for_each_provider(
    needs: CapsuleRegistry, url: str
) -> None:
    """An unmet requirement is a dashed node of its own; `--at` draws the past."""
    result = run(url, "graph")
    nodes, edges = parsed(result.stdout)

    assert {"needy", "news", "unmet tool:gone"} == nodes
    assert {("needy", "news", "topic:news.*"), ("needy", "unmet tool:gone", "")} == edges
    assert ({"needy", "unmet topic:news.*", "unmet tool:gone"}) == parsed(
        run(url, "graph", "--at", "2").stdout
    )[0]
    needs.drain()
    assert (set(), set()) == parsed(run(url, "graph").stdout)


def test_a_graph_for_markdown_has_the_same(needs: CapsuleRegistry, url: str) -> None:
    """A flowchart with numbered nodes, labelled by id."""
    assert [
        "flowchart LR",
        '  c0["needy"]',
        '  c1["news"]',
        '  c0 -->|"topic:news.*"| c1',
        '  c0 -.-> u1("tool:gone")',
    ] == run(url, "graph", "--format", "mermaid").stdout.splitlines()


HOSTILE = f'topic:"];evil[label="x{EVIL}\\'


def test_a_hostile_requirement_is_one_label_for_graphviz(
    registry: CapsuleRegistry, url: str
) -> None:
    """Met or not, it ends no string, adds no node, and never reaches the terminal raw."""
    registry.register(make_manifest("needy", dependencies={"requires": [HOSTILE]}))
    shown = 'topic:"];evil[label="x\\x1b[2J\\u202e\\x07evil\\'
    assert ({"needy", f"unmet {shown}"}, {("needy", f"unmet {shown}", "")}) == parsed(
        run(url, "graph").stdout
    )
    registry.register(make_manifest("news", dependencies={"provides": [HOSTILE]}))
    assert ({"needy", "news"}, {("needy", "news", shown)}) == parsed(run(url, "graph").stdout)
    for command in (("graph", "--format", "mermaid"), ("boot-order",), ("providers", HOSTILE)):
        result = run(url, *command)
        printed = result.stdout + result.stderr
        assert 0 == result.exit_code
        assert all(character.isprintable() or character == "\n" for character in printed), command


@pytest.mark.parametrize("body", ['"]', "#quot;", "|", "<img src=x onerror=alert(1)>", "a<br/>b"])
def test_a_hostile_requirement_is_one_label_for_markdown(
    registry: CapsuleRegistry, url: str, body: str
) -> None:
    """Characters that end a string, entity or tag are escaped as entities, and so displayed."""
    registry.register(make_manifest("needy", dependencies={"requires": [f"tool:{body}"]}))
    [_, _, line] = run(url, "graph", "--format", "mermaid").stdout.splitlines()
    [label] = re.findall(r'^  c0 -\.-> u0\("([^"]*)"\)$', line)

    assert [] == re.findall(r"[<>]|#(?!\w+;)", label)
    entities = {"quot": '"', "35": "#", "lt": "<", "gt": ">", "60": "<", "62": ">", "amp": "&"}
    assert f"tool:{body}" == re.sub(r"#(\w+);", lambda found: entities[found[1]], label)


@pytest.mark.parametrize("language", ["dot", "mermaid"])
def test_a_graph_is_of_one_moment(
    needs: CapsuleRegistry, url: str, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """A capsule registered while the graph is drawn is in it completely or not at all."""
    listed = library.RegistryReader.list

    def and_then_another(reader: Any, **options: Any) -> Any:
        found = listed(reader, **options)
        if "late" not in needs:
            needs.register(make_manifest("late", dependencies={"requires": ["topic:news.*"]}))
        return found

    monkeypatch.setattr(library.RegistryReader, "list", and_then_another)
    result = run(url, "graph", "--format", language)

    assert 0 == result.exit_code
    assert "late" not in result.stdout or "late" in result.stdout.split("->")[0]

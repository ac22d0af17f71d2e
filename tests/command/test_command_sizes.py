"""What the command reads is bounded: it stops at the limit, whatever is still to come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from capsule_registry import Anchor, CapsuleRegistry, InvalidTextError
from capsule_registry.entities.export_import import MAX_LINE
from support.commands import run
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.backends import SqliteBackend

MIB = 2**20
#: What a pipe and Python's buffers hold beyond what is asked for.
BUFFERED = MIB
READERS = {
    "import": (("import",), MAX_LINE),
    "verify": (("audit", "verify", "--anchor", "-"), Anchor.MAX_BYTES),
    "prune": (("audit", "prune", "--yes", "--anchor", "-"), Anchor.MAX_BYTES),
}


def feed(
    url: str, arguments: tuple[str, ...], chunks: Iterator[bytes]
) -> tuple[int, str, int, int]:
    """Pipe *chunks* to the command; return exit code, errors, bytes written and peak memory."""
    process = subprocess.Popen(
        [sys.executable, "-m", "capsule_registry", "--database", url, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    written = 0
    try:
        for chunk in chunks:
            written += os.write(process.stdin.fileno(), chunk)
    except BrokenPipeError:
        pass
    finally:
        process.stdin.close()
    errors = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    return process.returncode, errors, written, usage.ru_maxrss * 1024


@pytest.mark.parametrize(("arguments", "limit"), READERS.values(), ids=READERS)
def test_input_without_end_is_refused_at_the_limit(
    sqlite: SqliteBackend, arguments: tuple[str, ...], limit: int
) -> None:
    """Three hundred MiB without a newline take hardly more memory than a few bytes."""
    url = sqlite.new_url()
    piece = b" " * 65_536
    code, errors, written, memory = feed(
        url, arguments, (piece for _ in range(300 * MIB // 65_536))
    )
    *_, usual = feed(url, arguments, iter([b"{}\n"]))

    assert (5, 1) == (code, errors.count("\n"))
    assert "[too_large]" in errors
    assert str(limit) in errors
    assert written <= limit + BUFFERED
    assert memory - usual < 4 * limit + 8 * MIB


def test_a_long_line_among_others_is_named(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """Nothing of the revision that it is in is registered."""
    url, file = sqlite.new_url(), tmp_path / "lines"
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        first, *others = registry.export_lines()
        registry.unregister("alpha")
    file.write_text("\n".join([first, *others[:1], " " * (MAX_LINE + 1), *others[1:]]))
    result = run(url, "import", file)

    assert 5 == result.exit_code
    assert "line 3: it has more than" in result.stderr
    assert [] == json.loads(run(url, "list", "--format", "json").stdout)


def test_a_line_of_the_longest_kind_is_read(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """The limit itself is allowed; white space around a line counts."""
    url, file = sqlite.new_url(), tmp_path / "lines"
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        lines = [line.ljust(MAX_LINE - 1) + "\n" for line in registry.export_lines()]
        registry.unregister("alpha")
    file.write_text("".join(lines))

    assert 0 == run(url, "import", file).exit_code


def test_the_library_bounds_them_too(sqlite: SqliteBackend) -> None:
    """A program that has the text in memory gets the same refusal."""
    with (
        CapsuleRegistry.open(sqlite.new_url()) as registry,
        pytest.raises(InvalidTextError) as of_line,
    ):
        registry.import_lines([" " * (MAX_LINE + 1)])
    with pytest.raises(InvalidTextError) as of_anchor:
        Anchor.parse(" " * (Anchor.MAX_BYTES + 1))

    assert ["too_large"] * 2 == [of_line.value.rule, of_anchor.value.rule]


def test_bytes_that_are_no_text_are_refused(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """In an anchor as well as in a line, which is named."""
    file = tmp_path / "bytes"
    file.write_bytes(b"\xff\n")
    url = sqlite.new_url()
    results = [run(url, "import", file), run(url, "audit", "verify", "--anchor", file)]

    assert [5, 5] == [result.exit_code for result in results]
    assert all("[not_utf8]" in result.stderr for result in results)
    assert "line 1" in results[0].stderr

"""
Measure every ratio that the registry is held to.

    python benchmarks/run.py
    python benchmarks/run.py --database postgresql://… --database mariadb://…
    python benchmarks/run.py --only lookups checks --json record.json --plot plot.svg

A row compares the registry with a baseline that does the same, in turn (A B A B …). Its ratio is
the median of the rounds' ratios: how many times as fast ours is if the target is a minimum (≥), how
many times as long it takes if it is a maximum (≤). SQLite files are made in a temporary directory;
databases on servers are created and dropped, so the URL of a server names any database and a user
who may create others. Each peer runs in the Python named for it, which must have what its script in
`peer_scripts/` imports; peers without one are listed as not run. A run takes about ten minutes,
twenty with servers and peers, and two with `--quick` (a hundredth of the largest sizes, fewer
rounds).
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import bulk
import checks
import concurrency
import coroutines
import finding
import history
import lookups
import peers
import readers
import routes
import service
import startup
import writes
from support import plot, record, table
from support.comparison import Finding
from support.databases import Databases
from support.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.setting import Group

GROUPS: Final[dict[str, Group]] = {
    "lookups": lookups.findings,
    "checks": checks.findings,
    "writes": writes.findings,
    "concurrency": concurrency.findings,
    "coroutines": coroutines.findings,
    "bulk": bulk.findings,
    "finding": finding.findings,
    "routes": routes.findings,
    "service": service.findings,
    "startup": startup.findings,
    "readers": readers.findings,
    "peers": peers.findings,
    "history": history.findings,
}


def main() -> None:
    """Measure, print the table, and write the files asked for."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Also drops the databases.
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(dir=options.directory)))
        servers = [stack.enter_context(Databases(directory, server)) for server in options.database]
        setting = Setting(directory, tuple(servers), dict(options.peer_python), options.quick)
        caption = record.summary(setting)
        print(f"{caption}\n\n{table.heading()}", flush=True)
        found = []
        for one in _measured(setting, options.only):
            print(table.line(one), flush=True)
            found.append(one)
        if options.json:
            record.write(options.json, setting, found)
        if options.plot:
            plot.write(options.plot, found, caption)
    if any(one.why_not.startswith("failed") for one in found):
        sys.exit(1)


def _measured(setting: Setting, names: list[str]) -> Iterator[Finding]:
    """Yield the rows of the groups; one that fails is reported, and the others go on."""
    for name in names:
        try:
            yield from GROUPS[name](setting)
        except Exception as error:  # noqa: BLE001 - what a run of minutes has found is not lost
            yield Finding.not_run(name, f"failed: {error!r}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=[*GROUPS], metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument("--database", action="append", default=[], help="URL of a server, too")
    parser.add_argument(
        "--peer-python",
        action="append",
        default=[],
        type=_peer,
        metavar="NAME=PYTHON",
        help=f"who runs a peer ({', '.join(peers.NAMES)})",
    )
    parser.add_argument("--directory", type=Path, help="where files are made; else the usual place")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and all rounds")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (SVG)")
    parser.epilog = f"groups: {', '.join(GROUPS)}"
    return parser.parse_args()


def _peer(text: str) -> tuple[str, str]:
    name, _, python = text.partition("=")
    if name not in peers.NAMES or not python:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=PYTHON of {', '.join(peers.NAMES)}")
    return name, python


if __name__ == "__main__":
    main()

"""
The command, `capsule-registry`. It uses what the package exports, and nothing else of it.

Its modules import click alone: the library's names are loaded when a command uses them.
"""

from __future__ import annotations

import os
import sys

from capsule_registry.cli import asking, bulk, database, history, leases, reading, writing
from capsule_registry.cli.group import capsule_registry

for command in (
    *reading.commands,
    *asking.commands,
    *writing.commands,
    *leases.commands,
    *bulk.commands,
    *history.commands,
    *database.commands,
):
    capsule_registry.add_command(command)


def main() -> None:
    """Run the command."""
    if sys.stdout is None:  # Closed by whoever started it.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process lives
    capsule_registry(prog_name="capsule-registry")

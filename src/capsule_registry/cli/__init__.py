"""
The command, `capsule-registry`. It uses what the package exports, and nothing else of it.

Its modules import click alone, and are loaded for the commands in them; the library's names are
loaded when a command uses them.
"""

from __future__ import annotations

import os
import sys

from capsule_registry.cli.group import capsule_registry


def main() -> None:
    """Run the command."""
    if sys.stdout is None:  # Closed by whoever started it.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - as long as the process lives
    capsule_registry(prog_name="capsule-registry")

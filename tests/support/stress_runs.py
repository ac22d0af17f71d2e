"""Short runs of the stress commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STRESS = Path(__file__).parents[2] / "stress"


def run(script: str, *arguments: str) -> tuple[int, str]:
    """Run a stress command, and return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, STRESS / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    return done.returncode, done.stdout + done.stderr

"""The record of a run: machine, versions, and every round."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import capsule_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.comparison import Finding
    from support.setting import Setting

_PACKAGES: Final = ("sqlalchemy", "pydantic", "alembic", "psycopg", "pymysql", "click")


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


def versions(setting: Setting) -> dict[str, str]:
    """Return the versions of everything involved."""
    found = {
        "capsule-registry": f"{capsule_registry.__version__} {_commit()}".strip(),
        "python": platform.python_version(),
        "sqlite": capsule_registry.sqlite_module.sqlite_version,
    }
    found |= {name: _version(name) for name in _PACKAGES}
    return found | {server.title: server.version() for server in setting.servers}


def summary(setting: Setting) -> str:
    """Return the caption of the table."""
    on, of = machine(), versions(setting)
    names = ", ".join(f"{name} {number}" for name, number in of.items() if number)
    return f"{on['cores']} cores, {on['processor']}, {on['system']}, load {on['load']:.1f}; {names}"


def write(file: Path, setting: Setting, findings: Sequence[Finding]) -> None:
    """Write the record as JSON."""
    rows = [
        {
            "name": found.name,
            "ours": [*found.ours],
            "baseline": [*found.baseline],
            "ratios": [*found.ratios],
            "ratio": found.ratio,
            "unit": found.unit,
            "target": None if found.target is None else str(found.target),
            "met": found.is_met,
            "note": found.note,
            "not_run": found.why_not or None,
        }
        for found in findings
    ]
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": setting.is_quick,
        "machine": machine(),
        "versions": versions(setting),
        "rows": rows,
    }
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """Return the commit of the checkout, with a plus if files were changed."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(  # noqa: S603 - written above
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()

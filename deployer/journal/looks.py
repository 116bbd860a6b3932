"""What was last seen of each running service (STATE/looks.json): it proves which files a process has read."""

from __future__ import annotations

import json
from pathlib import Path

from deployer.journal import durable
from deployer.plan.stale import Look, Looks

SCHEMA = 1


def read_looks(path: Path) -> Looks:
    """Return the last looks; none where there is no such file, or one that cannot be read: that is to look anew."""
    try:
        found = json.loads(path.read_bytes())
        looks = found["hosts"] if found["schema"] == SCHEMA else {}
        return {host: {unit: Look.of(raw) for unit, raw in own.items()} for host, own in looks.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_looks(path: Path, looks: Looks) -> None:
    """Replace the looks as a whole (0600)."""
    hosts = {host: {unit: one.record() for unit, one in own.items()} for host, own in looks.items()}
    durable.write(path, json.dumps({"schema": SCHEMA, "hosts": hosts}).encode())

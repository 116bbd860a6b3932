"""Runs and journal lines for tests."""

from __future__ import annotations

from typing import Any

from deployer.journal.run import Run, State, checksum

OLD, NEW = "20260101T000000Z-ffff", "20260102T000000Z-0000"


def run(name: str = OLD, state: State = "done", projects: tuple[str, ...] = ("nova",), **more: Any) -> Run:
    when = f"{name[:4]}-{name[4:6]}-{name[6:8]}T00:00:00+00:00"
    return Run(name, "migrate", "ann@ops1", when, "/inv", state, projects=list(projects), **more)


def line(step: int, status: str = "done", at: str = "2026-01-01T00:00:00.000+00:00", **more: Any) -> dict[str, Any]:
    """Return a line as a host journals it."""
    told = {"step": f"{step:04d}", "scope": "project:nova", "kind": "unit.stop", "status": status, "target": "nova-api"}
    found = {**told, "before": {}, "after": {}, "at": at, **more}
    return {**found, "sum": checksum(found)}


def history(*runs: dict[str, Any]) -> dict[str, Any]:
    """Return a host's answer to `history`."""
    return {"runs": list(runs), "hold": None, "pending": None}


def about(name: str, record: Run | None, *lines: dict[str, Any]) -> dict[str, Any]:
    """Return what a host tells of one run."""
    document = None if record is None else record.document()
    return {"run": name, "who": "ann@ops1", "when": "", "record": document, "entries": list(lines)}

"""The report of a reconcile: for people, and for programs; `schema` rises when a key changes its meaning or goes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from deployer.report.console import console, show_checks, show_pauses
from deployer.report.documents import error_document
from deployer.report.endings import show_endings
from deployer.rollout.reconcile import Reconciled

SCHEMA = 1


def reconcile_document(found: Reconciled) -> dict[str, Any]:
    """Return what a reconcile found and did; `error` is null unless it failed, `run` unless it changed something."""
    migration = found.migration
    return {
        "schema": SCHEMA,
        "ok": found.ok,
        "state": found.state,
        "inventory": found.inventory,
        "when": found.when,
        "seconds": round(found.seconds, 3),
        "check": found.check,
        "deep": found.deep,
        "drift": [one.record() for one in found.drift],
        "unfinished": found.unfinished,
        "healed": [
            {"run": one.run.run, "projects": one.projects, "rolled_back": one.rolled_back} for one in found.healed
        ],
        "hold": {host: hold.record() for host, hold in found.hold.items()},
        "run": found.run.run if found.run else None,
        "pauses": [asdict(pause) for pause in migration.pauses] if migration else [],
        "checks": [check.record() for check in migration.checks] if migration else [],
        "hosts": found.hosts,
        "error": error_document(found.error)["error"] if found.error else None,
    }


def show_reconciled(found: Reconciled) -> None:
    """Print what drifted, what was done about it, and how all stands now."""
    out = console()
    if found.drift:
        _show_drift(found)
    for one in found.healed:
        back = ", ".join(one.projects) or "nothing"
        done = "its rollback was finished" if one.rolled_back else f"back on its old bus: {back}"
        out.print(f"run {one.run.run} had been cut off: {done}", markup=False)
    if found.migration is not None:
        show_checks(found.migration.checks, f"Repaired: run {found.run.run if found.run else ''}")
        show_pauses(found.migration.pauses)
    for line in dict.fromkeys(str(hold) for hold in found.hold.values()):
        out.print(f"{line}: nothing is changed until `hybridmsg release`", markup=False)
    if found.check and found.unfinished:
        out.print(f"cut off, or going on: {', '.join(found.unfinished)}", markup=False)
    if found.error is not None and found.error.hosts:
        show_endings(found.error.hosts)
    out.print(f"{found.state}: {len(found.drift)} differences from the inventory found{_depth(found)}.", markup=False)


def _show_drift(found: Reconciled) -> None:
    table = Table(title="Drift", title_justify="left")
    for column in ("kind", "host", "project", "what", "detail"):
        table.add_column(column)
    for one in found.drift:
        table.add_row(*(Text(cell) for cell in (one.kind, one.host, one.project, one.what, one.detail)))
    console().print(table)


def _depth(found: Reconciled) -> str:
    return "" if found.deep else "; brokers' definitions, cells and answers are only looked at with --deep"

"""The reports of a rollback, of what one would do, and of a release: for people, and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from deployer.report.console import console, show_checks, show_diff, show_routers
from deployer.report.documents import SCHEMA
from deployer.report.endings import show_endings
from deployer.rollout.hold import Hold
from deployer.rollout.outcome import Preview, Rollback

_NOTHING = "is rolled back already, or left nothing changed: nothing to do."


def show_rollback(done: Rollback) -> None:
    """Print what is as before, and every difference."""
    out = console()
    if not (done.projects or done.restored):
        out.print(f"Run {done.run.run} {_NOTHING}", markup=False)
        for line in done.told:
            out.print(line, markup=False)
        return
    table = Table(title=f"Rolled back run {done.run.run}: {', '.join(done.projects)}", title_justify="left")
    for column in ("host", "file or unit", "as before", "detail"):
        table.add_column(column)
    for one in done.restored:
        holds = Text("yes", "green") if one.same else Text("NO", "bold red")
        table.add_row(Text(one.host), Text(one.what), holds, Text(one.detail))
    out.print(table)
    if done.checks:
        show_checks(done.checks, "Servers that answered before the run")
    same = sum(one.same for one in done.restored)
    out.print(f"{same} of {len(done.restored)} files and units are as before the run.")
    for line in done.told:
        out.print(line, markup=False)
    if done.killed:
        out.print(f"Had to be killed, with what they were executing: {', '.join(done.killed)}", markup=False)
    show_routers(done.routers)
    if done.run.projects:
        out.print(f"Of the run these stand: {', '.join(done.run.projects)}", markup=False)
    show_endings(done.hosts)
    out.print("Held: reconcile migrates nothing until `hybridmsg release`.", markup=False)


def rollback_document(done: Rollback) -> dict[str, Any]:
    """Return what a rollback put back, file by file and unit by unit; no `projects` where they were back already."""
    return {
        "schema": SCHEMA,
        "run": done.run.run,
        "state": done.run.state,
        "projects": done.projects,
        "standing": done.run.projects,
        "whole": done.whole,
        "restored": [one.__dict__ for one in done.restored],
        "told": done.told,
        "killed": done.killed,
        "routers": done.routers,
        "checks": [check.record() for check in done.checks],
        "hosts": done.hosts,
    }


def show_preview(found: Preview) -> None:
    """Print what a rollback would do, equal diffs of several hosts once."""
    out = console()
    if not found.changed:
        out.print(f"Run {found.run.run} {_NOTHING}", markup=False)
        return
    out.print(f"Run {found.run.run} would be rolled back: {', '.join(found.projects)}", markup=False)
    diffs: dict[str, list[str]] = {}
    for host, _, text in found.files:
        diffs.setdefault(text, []).append(host)
    for text, hosts in diffs.items():
        show_diff(text, hosts)
    for line in (*found.units, *found.cells, *found.told):
        out.print(line, markup=False)
    for line in found.conflicts:
        out.print(f"refused unless forced: {line}", style="bold red", markup=False)


def preview_document(found: Preview) -> dict[str, Any]:
    """Return what a rollback would do; `conflicts` is what it would be refused for."""
    return {
        "schema": SCHEMA,
        "run": found.run.run,
        "changed": found.changed,
        "projects": found.projects,
        "files": [{"host": host, "path": path, "diff": diff} for host, path, diff in found.files],
        "units": found.units,
        "cells": found.cells,
        "told": found.told,
        "conflicts": found.conflicts,
    }


def show_release(lifted: Mapping[str, Hold]) -> None:
    """Print what was held, each hold once with its hosts."""
    holds: dict[str, list[str]] = {}
    for host, hold in lifted.items():
        holds.setdefault(str(hold), []).append(host)
    for text, hosts in holds.items():
        console().print(f"{', '.join(hosts)}: was {text}; released now", markup=False)
    if not holds:
        console().print("Nothing was held.")


def release_document(lifted: Mapping[str, Hold]) -> dict[str, Any]:
    """Return what was held, by host."""
    return {"schema": SCHEMA, "released": {host: hold.record() for host, hold in lifted.items()}}

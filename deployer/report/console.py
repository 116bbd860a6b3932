"""The reports for people: results on stdout, with rich; colours only where a terminal wants them (NO_COLOR)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.plan.checks import Check
from deployer.plan.planner import Plan
from deployer.plan.steps import Wave
from deployer.plan.warnings import left_alone
from deployer.rollout.outcome import Pause, Status

_DIFF_STYLES = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}


def console() -> Console:
    """Return the console for results; lines are never cut where the output is no terminal."""
    # NO_COLOR alone would leave rich's bold and dim.
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    found = Console(highlight=False, color_system=colours)
    return found if found.is_terminal else Console(highlight=False, width=160, soft_wrap=True)


def show_plan(plan: Plan, *, diff: bool, stale: Sequence[str] = ()) -> None:
    """Print the waves in order and, with `diff`, each file's diff, equal diffs of several hosts once.

    `stale` has a line for each thing that keeps a project of a saved plan out of this one.
    """
    out = console()
    show_routers(plan.routers.versions)
    _show_told(plan, stale)
    if not plan.changed:
        out.print("Nothing to do: every host is as the inventory says.")
        return
    for number, wave in enumerate(plan.waves(), 1):
        out.print(f"[bold]{number:2}. {wave.title}[/bold]{'  (one host after the other)' if wave.serial else ''}")
        for reasons, hosts in _grouped(wave):
            out.print(f"    {', '.join(hosts)}", markup=False)
            for reason in reasons:
                out.print(f"      {reason}", markup=False)
    for change in plan.brokers.definitions:
        out.print(f"definitions: {change}", markup=False)
    for change in plan.routers.changes:
        out.print(f"routers: {change}", markup=False)
    for line in (line for project in plan.projects for line in project.lines):
        out.print(line, markup=False)
    for line in plan.restarts:
        out.print(line, markup=False)
    for text, hosts in _diffs(plan) if diff else ():
        show_diff(text, hosts)
    servers = sum(len(project.servers) for project in plan.projects)
    out.print(f"\n{servers} RPC servers must answer on the bus afterwards.")


def show_diff(text: str, hosts: Iterable[str]) -> None:
    """Print the diff of a file of some hosts."""
    out = console()
    out.print()
    out.print(f"[bold]{', '.join(hosts)}[/bold]")
    for line in text.splitlines():
        out.print(Text(line, style=_style(line)))


def _show_told(plan: Plan, stale: Sequence[str]) -> None:
    """Print what a plan does not change and what it warns of, also where there is nothing to do."""
    for line in stale:
        console().print(Text(line, style="yellow"))
    told = [f"left alone: {line}" for line in left_alone(plan.deployment)]
    for line in (*told, *(f"warning: {line}" for line in plan.warnings)):
        console().print(line, markup=False)


def show_checks(checks: Sequence[Check], title: str) -> None:
    """Print a verification as a table."""
    table = Table(title=title, title_justify="left")
    for column in ("project", "what", "target", "holds", "answer", "ms", "asked from"):
        table.add_column(column, justify="right" if column == "ms" else "left")
    for check in checks:
        took = "" if check.ms is None else f"{check.ms:.0f}"
        holds = _yes_or_no(holds=check.ok)
        _row(table, check.project, check.kind, check.target, holds, check.detail, took, check.asked_from)
    failed = sum(not check.ok for check in checks)
    console().print(table)
    console().print(f"{len(checks) - failed} of {len(checks)} checks hold.")


def show_pauses(pauses: Sequence[Pause]) -> None:
    """Print how long each project's callers were stopped, and what was lost."""
    for pause in pauses:
        console().print(str(pause), markup=False)


def show_routers(versions: Mapping[str, str]) -> None:
    """Print what each router says it is."""
    for host, version in versions.items():
        console().print(f"{host}: its router is {version}", markup=False)


def show_status(found: Status) -> None:
    """Print hosts, what is pending, and the last run."""
    table = Table(title="Hosts", title_justify="left")
    for column in ("host", "address", "groups", "reachable", "units running"):
        table.add_column(column)
    for host in found.deployment.hosts.values():
        facts = found.facts.get(host.name)
        reachable = Text("yes", style="green") if facts else Text(str(found.errors[host.name]), style="red")
        running = ", ".join(unit.name for unit in facts.units.values() if unit.running) if facts else ""
        _row(table, host.name, host.address, ", ".join(host.groups), reachable, running)
    out = console()
    out.print(table)
    show_routers(found.routers)
    out.print(_pending(found), markup=False)
    last = found.last
    if last is None:
        out.print("Last run: none is recorded here.")
    else:
        error = f": {last.error}" if last.error else ""
        out.print(f"Last run: {last.run} ({last.command} by {last.who}), {last.state}{error}", markup=False)


def _pending(found: Status) -> str:
    if found.problem is not None:
        return f"Cannot be planned: {found.problem}"
    if found.plan is None:
        return "What is pending cannot be known while a host is unreachable."
    return "Changes are pending: see `hybridmsg plan`." if found.plan.changed else "In line with the inventory."


def _grouped(wave: Wave) -> Iterable[tuple[tuple[str, ...], list[str]]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for host, intents in wave.intents.items():
        groups.setdefault(tuple(intent.reason for intent in intents), []).append(host)
    return groups.items()


def _diffs(plan: Plan) -> Iterable[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for project in plan.projects:
        for host, edit in ((host, edit) for host, own in project.edits.items() for edit in own):
            groups.setdefault(edit.diff(), []).append(host)
    return groups.items()


def _row(table: Table, *cells: str | Text) -> None:
    """Add a row as it stands: rich would take [errno] in what a program said for a style of its own."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))


def _yes_or_no(*, holds: bool) -> Text:
    return Text("yes", style="green") if holds else Text("NO", style="bold red")


def _style(line: str) -> str:
    return next((style for start, style in _DIFF_STYLES.items() if line.startswith(start)), "")

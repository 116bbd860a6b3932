"""The history of runs, and one of them step by step: tables for people, documents for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from deployer.journal.acts import Act
from deployer.journal.run import Run
from deployer.report.console import console
from deployer.report.documents import SCHEMA
from deployer.rollout.history import History, Shown

_WRONG = ("failed", "undo failed", "split", "running", "rolling back", "interrupted", "unknown", "unreachable")


def show_history(found: History) -> None:
    """Print a line for each run, newest first, and what could not be learned."""
    out = console()
    table = _table("Runs", "run", "verb", "who", "when", "took", "state", "projects", "hosts", "held")
    for run in found.runs:
        projects, held = ", ".join(run.projects), ", ".join(run.held)
        _row(table, run.run, run.command, run.who, run.when, _took(run.seconds), run.state, projects, _hosts(run), held)
    out.print(table if found.runs else "No run is recorded.")
    for line in _told(found):
        out.print(line, markup=False)


def history_document(found: History) -> dict[str, Any]:
    """Return every run, newest first, and what could not be learned; `seconds` is null while nobody ended a run."""
    return {
        "schema": SCHEMA,
        "runs": [_run_document(run) for run in found.runs],
        "refused": [str(error) for error in found.refused],
        "errors": {host: str(error) for host, error in found.errors.items()},
        "damaged": found.damaged,
        "unrecorded": found.unrecorded,
        "holds": {host: hold.record() for host, hold in found.holds.items()},
        "pending": found.pending,
    }


def show_run(shown: Shown) -> None:
    """Print a run, how each host ended, and each step on each host."""
    run, out = shown.run, console()
    out.print(f"Run {run.run}: {run.command} by {run.who} at {run.when}, {run.state}", markup=False)
    for line in _about(run):
        out.print(f"  {line}", markup=False)
    for title, journals in (("Steps", shown.steps), ("Stopped and started to take it back", shown.undo)):
        if any(journals.values()):
            out.print(_steps(title, journals))
    for host, problem in shown.problems.items():
        out.print(f"{host}: {problem}", markup=False)


def run_document(shown: Shown) -> dict[str, Any]:
    """Return a run with each step on each host; `undo` has those that took it back."""
    return {
        "schema": SCHEMA,
        **_run_document(shown.run),
        "steps": _acts_document(shown.steps),
        "undo": _acts_document(shown.undo),
        "problems": shown.problems,
    }


def _run_document(run: Run) -> dict[str, Any]:
    keys = ("run", "command", "who", "when", "ended", "state", "error", "projects", "confirmed", "held", "hosts")
    told = {key: getattr(run, key) for key in keys}
    more = {"outcomes": run.outcomes, "back": run.back or None, "inventory": run.inventory, "seconds": run.seconds}
    return {**told, **more}


def _acts_document(journals: Mapping[str, Iterable[Act]]) -> dict[str, list[dict[str, Any]]]:
    return {host: [{**asdict(act), "project": act.project} for act in own] for host, own in journals.items()}


def _told(found: History) -> Iterable[str]:
    """Yield what is to be known beside the runs."""
    yield from (f"cannot be read: {error}" for error in found.refused)
    for run, problems in found.damaged.items():
        yield from (f"{host}: its journal of run {run} is damaged: {problem}" for host, problem in problems.items())
    for run, hosts in found.unrecorded.items():
        yield f"run {run} was journaled on {', '.join(hosts)}, and nobody has a record of it"
    yield from (f"{host}: {hold}" for host, hold in found.holds.items())
    for host, pending in found.pending.items():
        yield f"{host}: {_awaited(pending)}"
    yield from (f"not asked: {error}" for error in found.errors.values())


def _awaited(pending: Mapping[str, Any]) -> str:
    """Return what a host would put back by itself."""
    if "damaged" in pending:
        return f"which run is not confirmed there cannot be told: {pending['damaged']}"
    return f"run {pending['run']} is not confirmed there: {', '.join(pending['scopes'])}"


def _about(run: Run) -> Iterable[str]:
    if run.ended is not None:
        yield f"ended at {run.ended}, after {_took(run.seconds)}"
    if run.back:
        yield f"rolled back by {run.back['who']} at {run.back['when']}"
    if run.error:
        yield f"because: {run.error}"
    for what, names in (("changed", run.projects), ("confirmed", run.confirmed), ("held", run.held)):
        if names:
            yield f"{what}: {', '.join(names)}"
    yield from (f"{host}: {ending}" for host, ending in run.outcomes.items())


def _steps(title: str, journals: Mapping[str, Iterable[Act]]) -> Table:
    table = _table(title, "host", "step", "when", "took", "status", "project", "what", "target")
    for host, act in ((host, act) for host, own in journals.items() for act in own):
        status = act.status if act.undone is None else f"{act.status} at {act.undone}"
        _row(table, host, act.step, act.when, _took(act.seconds), status, act.project, act.kind, act.target)
    return table


def _hosts(run: Run) -> str:
    """Return how many hosts ended in which way, or how many there were while that is not known."""
    counted = Counter(run.outcomes.values())
    return ", ".join(f"{number} {ending}" for ending, number in counted.items()) or str(len(run.hosts))


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column == "took" else "left")
    return table


def _row(table: Table, *cells: str) -> None:
    """Add a row as it stands, what is not in order in red."""
    table.add_row(*(Text(cell, style="red" if cell in _WRONG else "") for cell in cells))

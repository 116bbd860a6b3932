"""Put a project back on all its hosts, from the hosts' own journals: its files first, then what runs on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from deployer.model.deployment import ProjectDeployment
from deployer.plan.expected import active_units
from deployer.plan.observed import HostFacts
from deployer.plan.steps import Intent, Step
from deployer.rollout.fleet import Fleet
from tasks.steps import apply_steps, read_history, undo_steps

Entry = Mapping[str, Any]
Journals = Mapping[str, list[Entry]]

_FILES = frozenset({"file.write"})
_UNITS = frozenset({"unit.restart", "unit.start", "unit.stop", "unit.enable"})
_STANDING = frozenset({"doing", "done", "failed"})


def read_journals(fleet: Fleet, hosts: Iterable[str], run: str) -> dict[str, list[Entry]]:
    """Return, by host, the last line of each step of the run, in the order in which they were begun."""
    results = fleet.run(hosts, read_history, run=run)
    journals = {}
    for host, result in results.items():
        entries = [entry for one in result.runs for entry in one["entries"]]  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        journals[host] = list({entry["step"]: entry for entry in entries}.values())
    return journals


def undo_project(
    fleet: Fleet, run: str, project: ProjectDeployment, journals: Journals, *, force: bool = False
) -> bool:
    """Undo what the run did for the project and return whether anything was undone.

    Files go back on all hosts before any unit is restarted. Raises HostsFailed of StalePlan when a file is not what the
    run left, unless `force`: then nothing of that host was undone.
    """
    files = _standing(journals, _scope(project), _FILES)
    units = _standing(journals, _scope(project), _UNITS)
    deadline = fleet.deployment.timeouts.step
    fleet.run(files, undo_steps, run=run, steps=_ids(files), force=force, deadline=deadline)
    for host, entries in units.items():
        steps = _ids({host: entries})
        fleet.run([host], undo_steps, run=run, steps=steps, force=force, deadline=deadline * len(entries))
    if files:
        _restart_late_starters(fleet, run, project, files)
    return bool(files or units)


def _restart_late_starters(fleet: Fleet, run: str, project: ProjectDeployment, files: Journals) -> None:
    """Restart units that somebody else started while the run's files were in place: they still run on those."""
    fleet.observe(host for host in project.hosts if host.name in files)
    timeout = fleet.deployment.timeouts.step
    for host, entries in files.items():
        facts = fleet.facts[host]
        written = min(datetime.fromisoformat(entry["at"]).timestamp() for entry in entries)
        late = [
            unit.name
            for unit in active_units(project, facts)
            if unit.started is not None and written <= unit.started < _put_back(project, facts)
        ]
        intents = [Intent("unit.restart", {"unit": unit, "timeout": timeout}, f"restart {unit}") for unit in late]
        steps = [Step.of(intent, place, f"undo:{project.name}") for place, intent in enumerate(intents, 1)]
        if steps:
            fleet.run([host], apply_steps, run=f"{run}-undo", steps={host: steps}, deadline=timeout * len(steps))


def _put_back(project: ProjectDeployment, facts: HostFacts) -> float:
    return facts.files[project.project.files[0]].ctime_ns / 1e9


def _scope(project: ProjectDeployment) -> str:
    return f"project:{project.name}"


def _standing(journals: Journals, scope: str, kinds: frozenset[str]) -> dict[str, list[Entry]]:
    """Return, by host, the steps of these kinds that were begun and not undone; a failed restart left a unit dead."""
    standing = {
        host: [
            entry
            for entry in entries
            if entry["scope"] == scope and entry["kind"] in kinds and entry["status"] in _STANDING
        ]
        for host, entries in journals.items()
    }
    return {host: entries for host, entries in standing.items() if entries}


def _ids(journals: Journals) -> dict[str, list[str]]:
    return {host: [entry["step"] for entry in entries] for host, entries in journals.items()}

"""Put a project back on all its hosts, from the hosts' own journals: its files first, then what runs on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deployer.model.deployment import ProjectDeployment
from deployer.rollout.fleet import Fleet
from tasks.steps import read_history, undo_steps

Entries = Mapping[str, list[dict[str, Any]]]

_FILES = frozenset({"file.write"})
_UNITS = frozenset({"unit.restart", "unit.start", "unit.stop", "unit.enable"})
_STANDING = frozenset({"doing", "done", "failed"})


def read_journals(fleet: Fleet, hosts: Iterable[str], run: str) -> dict[str, list[dict[str, Any]]]:
    """Return, by host, the last status of each step of the run, in the order in which they were begun."""
    results = fleet.run(hosts, read_history, run=run)
    journals = {}
    for host, result in results.items():
        entries = [entry for one in result.runs for entry in one["entries"]]  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        journals[host] = list({entry["step"]: entry for entry in entries}.values())
    return journals


def undo_project(fleet: Fleet, run: str, project: ProjectDeployment, journals: Entries, *, force: bool = False) -> bool:
    """Undo what the run did for the project and return whether anything was undone.

    Files go back on all hosts before any unit is restarted. Raises HostsFailed of StalePlan when a file is not what the
    run left, unless `force`: then nothing of that host was undone.
    """
    scope = f"project:{project.name}"
    files = _standing(journals, scope, _FILES)
    units = _standing(journals, scope, _UNITS)
    deadline = fleet.deployment.timeouts.step
    fleet.run(files, undo_steps, run=run, steps=files, force=force, deadline=deadline)
    for host, steps in units.items():
        fleet.run([host], undo_steps, run=run, steps={host: steps}, force=force, deadline=deadline * len(steps))
    return bool(files or units)


def _standing(journals: Entries, scope: str, kinds: frozenset[str]) -> dict[str, list[str]]:
    """Return, by host, the steps of these kinds that were begun and not undone; a failed restart left a unit dead."""
    standing = {
        host: [
            entry["step"]
            for entry in entries
            if entry["scope"] == scope and entry["kind"] in kinds and entry["status"] in _STANDING
        ]
        for host, entries in journals.items()
    }
    return {host: steps for host, steps in standing.items() if steps}

"""Put a project back on all its hosts, from the hosts' own journals: its files first, then what runs on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from deployer.errors import HostsFailed, HybridmsgError, StalePlan
from deployer.model.deployment import Host, ProjectDeployment
from deployer.plan.expected import active_units
from deployer.plan.observed import HostFacts
from deployer.plan.query import query
from deployer.plan.steps import Intent, Step
from deployer.rollout.fleet import Fleet
from tasks.steps import apply_steps, read_history, undo_steps

Entry = Mapping[str, Any]
Journals = Mapping[str, list[Entry]]

_FILES = frozenset({"file.write"})
_UNITS = frozenset({"unit.restart", "unit.start", "unit.stop", "unit.enable"})


def read_journals(fleet: Fleet, hosts: Iterable[str], run: str) -> dict[str, list[Entry]]:
    """Return, by host, the last line of each step of the run, oldest first; `began` is the time of its first line."""
    results = fleet.run(hosts, read_history, run=run)
    journals = {}
    for host, result in results.items():
        steps: dict[str, Entry] = {}
        for one in result.runs:  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
            for entry in one["entries"]:
                first = steps.get(entry["step"], {"began": entry["at"]})
                steps[entry["step"]] = {**entry, "began": first["began"]}
        journals[host] = list(steps.values())
    return journals


def refuse_stale(fleet: Fleet, projects: Iterable[ProjectDeployment], journals: Journals) -> None:
    """Raise HostsFailed of StalePlan when any file that these projects would get back is not what the run left.

    Asked of all hosts before any is touched: one file that somebody changed must not split its project.
    """
    scopes = {_scope(project) for project in projects}
    files = {host: [one for one in _of(entries, scopes, _FILES) if _stands(one)] for host, entries in journals.items()}
    queries = {host: query({one["target"] for one in own}, []) for host, own in files.items() if own}
    facts = fleet.ask_facts(queries)
    remedy = "Compare it with the journal's before-image, then roll back with --force, which overwrites it"
    stale: dict[str, HybridmsgError] = {
        host: StalePlan(host, f"{one['target']} was changed after the run", remedy)
        for host in queries
        for one in files[host]
        if facts[host].files[one["target"]].sha256 not in (one["before"].get("sha256"), one["after"].get("sha256"))
    }
    if stale:
        raise HostsFailed(stale)


def undo_project(
    fleet: Fleet, run: str, project: ProjectDeployment, journals: Journals, *, force: bool = False
) -> None:
    """Undo what the run did for the project: files on all hosts first, then units, host after host.

    A host that fails does not keep the others from going back; raises HostsFailed with all that failed, at the end.
    """
    own = {host: _of(entries, {_scope(project)}, _FILES | _UNITS) for host, entries in journals.items()}
    deadline = fleet.deployment.timeouts.step
    errors: dict[str, HybridmsgError] = {}
    files = _ids(own, _FILES)
    errors |= fleet.attempt(files, undo_steps, run=run, steps=files, force=force, deadline=deadline)[1]
    # A unit on files that are not put back would only be restarted in vain, and hide the error that came first.
    units = {host: steps for host, steps in _ids(own, _UNITS).items() if host not in errors}
    for host, steps in units.items():
        arguments = {"run": run, "steps": {host: steps}, "force": force, "deadline": deadline * (len(steps) + 1)}
        errors |= fleet.attempt([host], undo_steps, **arguments)[1]
    errors = _restart_late_starters(fleet, run, project, own) | errors
    if errors:
        raise HostsFailed(errors)


def _restart_late_starters(
    fleet: Fleet, run: str, project: ProjectDeployment, journals: Journals
) -> dict[str, HybridmsgError]:
    """Restart units that somebody else started while the run's files were in place: they still run on those."""
    began = {
        host: min(datetime.fromisoformat(entry["began"]).timestamp() for entry in entries if entry["kind"] in _FILES)
        for host, entries in journals.items()
        if any(entry["kind"] in _FILES for entry in entries)
    }
    errors: dict[str, HybridmsgError] = {}
    for host in [one for one in project.hosts if one.name in began]:
        errors |= _restart_late_starters_of(host, fleet, run, project, began[host.name])
    return errors


def _restart_late_starters_of(
    host: Host, fleet: Fleet, run: str, project: ProjectDeployment, written: float
) -> dict[str, HybridmsgError]:
    timeout = fleet.deployment.timeouts.step
    try:
        late = _started_between(project, fleet.observe([host])[host.name], written)
        intents = [Intent("unit.restart", {"unit": unit, "timeout": timeout}, f"restart {unit}") for unit in late]
        steps = [Step.of(intent, place, f"undo:{project.name}") for place, intent in enumerate(intents, 1)]
        own = {host.name: steps} if steps else {}
        fleet.run(own, apply_steps, run=f"{run}-undo", steps=own, deadline=timeout * (len(steps) + 1))
    except HostsFailed as failed:
        return failed.errors
    return {}


def _started_between(project: ProjectDeployment, facts: HostFacts, written: float) -> list[str]:
    """Return the units that began after the run wrote and before the file was put back (s since the epoch)."""
    put_back = facts.files[project.project.files[0]].ctime_ns / 1e9
    units = active_units(project, facts)
    return [unit.name for unit in units if unit.started is not None and written <= unit.started < put_back]


def _scope(project: ProjectDeployment) -> str:
    return f"project:{project.name}"


def _of(entries: Iterable[Entry], scopes: Iterable[str], kinds: frozenset[str]) -> list[Entry]:
    return [entry for entry in entries if entry["scope"] in scopes and entry["kind"] in kinds]


def _stands(entry: Entry) -> bool:
    """Whether a step was begun and not undone; a failed restart left a dead unit and stands too."""
    return str(entry["status"]) != "undone"


def _ids(journals: Journals, kinds: frozenset[str]) -> dict[str, list[str]]:
    """Return, by host, the ids of the steps of these kinds that stand."""
    found = {
        host: [entry["step"] for entry in entries if entry["kind"] in kinds and _stands(entry)]
        for host, entries in journals.items()
    }
    return {host: steps for host, steps in found.items() if steps}

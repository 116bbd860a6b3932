"""Undo the last run: every file, mode and owner, and what ran, as they were; shown by reading the hosts again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.errors import ConfigurationError, Mistake
from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.expected import RpcServer
from deployer.plan.observed import HostFacts
from deployer.plan.query import query
from deployer.rollout.bus import Bus
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Restored, Rollback
from deployer.rollout.undo import read_journals, undo_project


def rollback(deployment: Deployment, store: RunStore, progress: Progress, *, force: bool = False) -> Rollback:
    """Undo the newest run that stands, whole projects in reverse order. Brokers stay: other things may use them by now.

    Raises NothingToRollBack; HostsFailed of StalePlan when somebody changed a file since (unless `force`);
    ConfigurationError when a host of the run is no longer in the inventory.
    """
    run = store.last_to_undo()
    gone = [host for host in run.files if host not in deployment.hosts]
    if gone:
        problem = "was changed by the run to be undone and is no longer in the inventory: put it back for the rollback"
        raise ConfigurationError([Mistake(str(deployment.directory), host, problem) for host in gone])
    with Fleet(deployment, progress) as fleet:
        fleet.lock(run.run)
        journals = read_journals(fleet, run.files, run.run)
        for project in reversed(deployment.projects):
            if project.name in run.projects:
                progress.event("", f"{project.name}: undoing")
                undo_project(fleet, run.run, project, journals, force=force)
        done = Rollback(run, _compare(run, fleet), _ask(run, fleet))
    store.end(run, "rolled back" if done.whole else "failed", None if done.whole else "not all is as before the run")
    return done


def _compare(run: Run, fleet: Fleet) -> list[Restored]:
    queries = {host: query(files, run.units[host]) for host, files in run.files.items()}
    facts = fleet.ask_facts(queries)
    return [one for host in run.files for one in [*_files(run, facts[host]), *_units(run, facts[host])]]


def _files(run: Run, facts: HostFacts) -> list[Restored]:
    recorded = run.files[facts.host].items()
    return [_same(facts.host, path, before, facts.files[path].identity()) for path, before in recorded]


def _units(run: Run, facts: HostFacts) -> list[Restored]:
    now = {name: {"active": unit.active, "enabled": unit.enabled} for name, unit in facts.units.items()}
    return [_same(facts.host, name, before, now[name]) for name, before in run.units[facts.host].items()]


def _same(host: str, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Restored:
    differs = [f"{key} was {before[key]}, is {now[key]}" for key in before if before[key] != now[key]]
    return Restored(host, what, not differs, "; ".join(differs) or "as before")


def _ask(run: Run, fleet: Fleet) -> list[Check]:
    """Ask again whoever answered before the run; where nobody did, there was no bus to go back to."""
    fleet.observe()
    answered = [RpcServer.of(entry) for entry in run.baseline if entry["answered"]]
    questions = [
        (project, [server for server in answered if server.project == project.name])
        for project in fleet.deployment.projects
        if any(server.project == project.name for server in answered)
    ]
    return Bus(fleet).ask_projects(questions, fleet.deployment.timeouts.gate, notify=False)

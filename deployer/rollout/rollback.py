"""Undo the last run: every file, mode and owner, and what ran, as they were; shown by reading the hosts again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from deployer.errors import ConfigurationError, HostsFailed, HybridmsgError, Mistake
from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.expected import RpcServer
from deployer.plan.observed import HostFacts
from deployer.plan.query import query
from deployer.rollout.bus import Bus
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Restored, Rollback
from deployer.rollout.undo import Journals, read_journals, refuse_stale, undo_project


def rollback(deployment: Deployment, store: RunStore, progress: Progress, *, force: bool = False) -> Rollback:
    """Undo the newest run that stands, whole projects in reverse order. Brokers stay: other things may use them by now.

    Raises NothingToRollBack; HostsFailed of StalePlan when somebody changed a file since (unless `force`);
    ConfigurationError when a host of the run is no longer in the inventory.
    """
    run = store.last_to_undo()
    projects = [project for project in reversed(deployment.projects) if project.name in run.projects]
    _refuse_other_inventory(run, deployment)
    with Fleet(deployment, progress) as fleet:
        fleet.lock(run.run, run.files)
        journals = read_journals(fleet, run.files, run.run)
        if not force:
            refuse_stale(fleet, projects, journals)
        try:
            _undo(fleet, run, projects, journals, progress, force=force)
        except BaseException as error:
            store.end(run, "split", str(error) or type(error).__name__)
            raise
        done = Rollback(run, _compare(run, fleet), _ask(run, fleet))
    # What the run changed are the files; a unit that somebody stopped since must not keep older runs out of reach.
    back = force or all(one.same for one in done.restored if one.what.startswith("/"))
    store.end(run, "rolled back" if back else "split", None if done.whole else "not all is as before the run")
    return done


def _undo(
    fleet: Fleet, run: Run, projects: list[ProjectDeployment], journals: Journals, progress: Progress, *, force: bool
) -> None:
    """Undo project after project; one that fails does not keep the others from going back."""
    errors: dict[str, HybridmsgError] = {}
    for project in projects:
        progress.event("", f"{project.name}: undoing")
        try:
            undo_project(fleet, run.run, project, journals, force=force)
        except HostsFailed as failed:
            # A host's first error is the cause of those that follow.
            errors = failed.errors | errors
            _take_again(fleet, run, failed.errors)
    if errors:
        raise HostsFailed(errors)


def _take_again(fleet: Fleet, run: Run, hosts: Iterable[str]) -> None:
    """Take hosts whose session may be lost: without the lock their other projects could not go back."""
    for host in hosts:
        with suppress(HostsFailed):
            fleet.lock(run.run, [host], patience=fleet.deployment.timeouts.step)


def _refuse_other_inventory(run: Run, deployment: Deployment) -> None:
    """Raise ConfigurationError for every host and project of the run that the inventory no longer has."""
    problem = "was changed by the run to be undone and is no longer in the inventory: put it back for the rollback"
    deployed = {project.name for project in deployment.projects}
    gone = [host for host in run.files if host not in deployment.hosts]
    gone += [name for name in run.projects if name not in deployed]
    paths = {
        host.name: {project.project.files[0] for project in deployment.projects if host in project.hosts}
        for host in deployment.hosts.values()
    }
    gone += [
        f"{host}: {path}"
        for host, files in run.files.items()
        for path in files
        if host in paths and path not in paths[host]
    ]
    if gone:
        raise ConfigurationError([Mistake(str(deployment.directory), one, problem) for one in gone])


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
    answered = [RpcServer.of(entry) for entry in run.baseline if entry["answered"]]
    questions = [
        (project, [server for server in answered if server.project == project.name])
        for project in fleet.deployment.projects
        if any(server.project == project.name for server in answered)
    ]
    fleet.observe({host for project, _ in questions for host in project.hosts})
    return Bus(fleet).ask_projects(questions, fleet.deployment.timeouts.gate, notify=False, planned=False)

"""Undo the last run: every file, mode and owner, and what ran, as they were; shown by reading the hosts again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from deployer.errors import (
    ConfigurationError,
    DrainTimeout,
    HostsFailed,
    HybridmsgError,
    LeftoverMessages,
    Mistake,
    Unreachable,
)
from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.secrets import Blob
from deployer.nornir_plugins.processor import Progress
from deployer.plan.bus_today import RpcBus, rpc_bus
from deployer.plan.effective import effective_configs
from deployer.plan.observed import FileFact, HostFacts
from deployer.plan.query import query
from deployer.plan.routers import running_versions
from deployer.rollout.baseline import ask_again, await_baseline
from deployer.rollout.carry import Carrier, undo_carrier
from deployer.rollout.drain import Drain
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.outcome import Restored, Rollback
from deployer.rollout.routers import deserted_routers, remove_routers
from deployer.rollout.undo import Hooks, Journals, ProjectUndo, read_journals, refuse_stale


def rollback(
    deployment: Deployment,
    store: RunStore,
    progress: Progress,
    *,
    force: bool = False,
    purge_leftovers: bool = False,
    remove_backends: bool = False,
) -> Rollback:
    """Undo the newest run that stands, whole projects in reverse order, each drained first as in a migration.

    Brokers stay: other things may use them by now. So do routers, unless `remove_backends`.
    Raises NothingToRollBack; HostsFailed of StalePlan when somebody changed a file since (unless `force`);
    LeftoverMessages when old RPC queues hold any (unless `purge_leftovers`); DrainTimeout; ConfigurationError when a
    host of the run is no longer in the inventory.
    """
    run = store.last_to_undo()
    _refuse_other_inventory(run, deployment)
    with Fleet(deployment, progress) as fleet:
        _leave_out_lost(fleet, run, progress)
        deployment = fleet.deployment
        projects = [project for project in reversed(deployment.projects) if project.name in run.projects]
        # Any of the inventory's hosts may have a router to remove; one that is only left in peace need not be had.
        backends = (
            deployment.hosts if remove_backends else [host.name for host in deployment.rabbitmq if purge_leftovers]
        )
        fleet.lock(run.run, {*run.units, *backends})
        journals = read_journals(fleet, run.units, run.run)
        if not force:
            refuse_stale(fleet, projects, journals)
        carrier = undo_carrier(fleet, store, run)
        drain = Drain(fleet, progress, purge=purge_leftovers)
        returns = _Returns(fleet, store, run, journals, carrier, drain, progress)
        returns.refuse_leftovers(projects)
        done = _undo(returns, projects, force=force, remove_backends=remove_backends)
        # What the run changed are the files; a unit that somebody stopped since must not keep older runs out of reach.
        back = force or all(one.same for one in done.restored if one.what.startswith("/"))
        store.end(run, "rolled back" if back else "split", None if done.whole else "not all is as before the run")
    return done


def _leave_out_lost(fleet: Fleet, run: Run, progress: Progress) -> None:
    """Go on without the service hosts that the run went without and that are out of reach still: nothing changed there.

    A record without any host is of an old run, which had all.
    """
    backends = {*fleet.deployment.rabbitmq, *fleet.deployment.qdrouterd}
    apart = {
        name: host
        for name, host in fleet.deployment.hosts.items()
        if run.hosts and name not in run.hosts and host not in backends
    }
    errors = ask_each(apart, lambda names: fleet.observe([apart[name] for name in names]))[1]
    lost = {name: error for name, error in errors.items() if isinstance(error, Unreachable)}
    for error in lost.values():
        progress.event("", f"{error}; the run changed nothing there, and it is left out")
    fleet.leave_out(lost)


def _versions(fleet: Fleet) -> dict[str, str]:
    """Return what each router says it is; one that does not tell any more is no obstacle on the way back."""
    routers = {host.name: host for host in fleet.deployment.qdrouterd}
    facts = ask_each(routers, lambda names: fleet.observe([routers[name] for name in names]))[0]
    return running_versions(fleet.deployment, facts)


def _undo(returns: _Returns, projects: Iterable[ProjectDeployment], *, force: bool, remove_backends: bool) -> Rollback:
    """Take the projects back, look at what has become of them, and remove the routers if that is asked for."""
    fleet, store, run, deployment = returns.fleet, returns.store, returns.run, returns.fleet.deployment
    before = run.state
    # Until all that was asked for is done: else a second try would undo the run before this one.
    store.end(run, "split", "its rollback was cut off")
    try:
        returns.carry_out(projects, force=force)
        restored = _compare(run, fleet)
        checks = ask_again(fleet, run, deployment.projects, deployment.timeouts.gate)
        done = Rollback(run, restored, checks, returns.killed, _versions(fleet))
        if remove_backends:
            routers = [*(host.name for host in deployment.qdrouterd), *deserted_routers(fleet)]
            remove_routers(fleet, returns.carrier, routers)
    except (DrainTimeout, LeftoverMessages) as error:
        # The project runs on as it did; those that went before it are back, whole.
        store.end(run, before, str(error))
        raise
    except BaseException as error:
        store.end(run, "split", str(error) or type(error).__name__)
        raise
    return done


@dataclass
class _Returns:
    """The way back of each project of one run."""

    fleet: Fleet
    store: RunStore
    run: Run
    journals: Journals
    carrier: Carrier
    drain: Drain
    progress: Progress
    killed: list[str] = field(default_factory=list)

    def refuse_leftovers(self, projects: Sequence[ProjectDeployment]) -> None:
        """Raise LeftoverMessages before anything is touched when a project would come back to old messages."""
        deployment = self.fleet.deployment
        self.fleet.observe({host for project in projects for host in project.hosts})
        buses = {project.name: self._bus_before(project) for project in projects}
        if any(bus is not None and bus.is_brokers(deployment) for bus in buses.values()):
            self._observe_brokers()
        self.drain.refuse_leftovers((project, buses[project.name]) for project in projects)

    def _observe_brokers(self) -> None:
        """Learn which brokers run; raises HostsFailed when none of their hosts tells."""
        brokers = {host.name: host for host in self.fleet.deployment.rabbitmq}
        errors = ask_each(brokers, lambda names: self.fleet.observe([brokers[name] for name in names]))[1]
        if len(errors) == len(brokers):
            raise HostsFailed(errors)

    def carry_out(self, projects: Iterable[ProjectDeployment], *, force: bool) -> None:
        """Undo project after project; one that fails does not keep the others from going back."""
        errors: dict[str, HybridmsgError] = {}
        for project in projects:
            self.progress.event("", f"{project.name}: undoing: callers stop, its bus becomes idle, servers go back")
            hosts = [host.name for host in project.hosts]
            journals = {host: entries for host, entries in self.journals.items() if host in hosts}
            undo = ProjectUndo(self.fleet, self.carrier, self.run.run, project, journals, force=force)
            try:
                undo.carry_out(self._hooks(undo))
            except HostsFailed as failed:
                # A host's first error is the cause of those that follow.
                errors = failed.errors | errors
                _take_again(self.fleet, self.run, failed.errors)
            except (DrainTimeout, LeftoverMessages) as error:
                if errors:
                    self.progress.event("", str(error))
                    break
                raise
            else:
                self.run.projects.remove(project.name)
                self.store.save(self.run)
            finally:
                self.killed += undo.killed
        if errors:
            raise HostsFailed(errors)

    def _hooks(self, undo: ProjectUndo) -> Hooks:
        project = undo.project

        def drained() -> None:
            _none_failed(undo)
            self._wait(project)

        def emptied() -> None:
            _none_failed(undo)
            for wave in self.drain.enter(project, self._bus_before(project)):
                self.carrier.carry(wave)

        return Hooks(drained, emptied, answered=lambda: await_baseline(self.fleet, self.run, project))

    def _wait(self, project: ProjectDeployment) -> None:
        try:
            self.drain.wait(project)
        except HostsFailed as failed:
            # The way back stands open also when what is left is the bus that broke.
            self.progress.event("", f"{failed}\n{project.name}: nobody tells of its bus, which is not waited for")

    def _bus_before(self, project: ProjectDeployment) -> RpcBus | None:
        """Return the bus that the project's RPC was on before the run, by the before-images kept here."""
        for host in project.hosts:
            paths = _files_of(self.run, host.name, project)
            kept = {path: self.store.kept(self.run, host.name, path) for path in paths}
            before = {path: content for path, content in kept.items() if content is not None}
            # Who broke a file since is in the way of reading it, and not of going back.
            with suppress(ConfigurationError):
                if before:
                    configs = effective_configs(_with_files(self.fleet.facts[host.name], before), project)
                    return next(filter(None, map(rpc_bus, configs.values())), None)
        return None


def _with_files(facts: HostFacts, contents: Mapping[str, bytes]) -> HostFacts:
    """Return a host as it is, but for the contents of some files."""
    known = {path: facts.files.get(path, FileFact(path, exists=True)) for path in contents}
    files = {path: replace(known[path], exists=True, content=Blob(content)) for path, content in contents.items()}
    return replace(facts, files={**facts.files, **files})


def _files_of(run: Run, host: str, project: ProjectDeployment) -> list[str]:
    """Return the files of a project that the run was to change on a host; of old runs only the main ones are known."""
    main = dict.fromkeys(project.project.files, project.name)
    recorded = run.files.get(host, {}).items()
    return [path for path, before in recorded if before.get("project", main.get(path)) == project.name]


def _none_failed(undo: ProjectUndo) -> None:
    """Raise HostsFailed when the project does not stand still everywhere: as a whole it can still stay where it is."""
    if undo.errors:
        raise HostsFailed(undo.errors)


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
        host.name: {path for one in deployment.projects if host in one.hosts for path in _files_of(run, host.name, one)}
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
    queries = {host: query(run.files.get(host, ()), units) for host, units in run.units.items()}
    facts = fleet.ask_facts(queries)
    return [one for host in run.units for one in [*_files(run, facts[host]), *_units(run, facts[host])]]


def _files(run: Run, facts: HostFacts) -> list[Restored]:
    now = {path: facts.files[path].identity() for path in run.files.get(facts.host, {})}
    before = {path: {key: run.files[facts.host][path][key] for key in own} for path, own in now.items()}
    return [_same(facts.host, path, before[path], own) for path, own in now.items()]


def _units(run: Run, facts: HostFacts) -> list[Restored]:
    now = {name: {"active": unit.active, "enabled": unit.enabled} for name, unit in facts.units.items()}
    return [_same(facts.host, name, before, now[name]) for name, before in run.units[facts.host].items()]


def _same(host: str, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Restored:
    differs = [f"{key} was {before[key]}, is {now[key]}" for key in before if before[key] != now[key]]
    return Restored(host, what, not differs, "; ".join(differs) or "as before")

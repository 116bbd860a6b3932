"""The way back of a run's projects, one after the other, each drained first: what a rollback and a healing share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from deployer.errors import ConfigurationError, DrainTimeout, HostsFailed, HybridmsgError, Interrupted, LeftoverMessages
from deployer.journal.run import Run, State
from deployer.journal.store import RunStore
from deployer.model.deployment import ProjectDeployment
from deployer.model.secrets import Blob
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import RunInterrupted
from deployer.plan.bus_today import RpcBus, rpc_bus
from deployer.plan.effective import effective_configs
from deployer.plan.observed import FileFact, HostFacts
from deployer.rollout import record
from deployer.rollout.baseline import await_baseline
from deployer.rollout.carry import Carrier
from deployer.rollout.drain import Drain
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.hold import place
from deployer.rollout.standing import is_going_back
from deployer.rollout.undo import Hooks, Journals, ProjectUndo, read_journals, scope_of
from tasks.steps import Merged


@dataclass
class Returns:
    """The way back of each project of one run."""

    fleet: Fleet
    store: RunStore
    run: Run
    journals: Journals
    carrier: Carrier
    drain: Drain
    progress: Progress
    force: bool = False
    merged: Mapping[str, Merged] = field(default_factory=dict, repr=False)
    """By host, what files get instead of their before-image where others changed them too."""
    split: frozenset[str] = frozenset()
    """Projects that stand between old and new: for them there is no staying where they are."""
    lost: Mapping[str, HybridmsgError] = field(default_factory=dict)
    """Hosts that cannot be asked."""
    done: list[str] = field(default_factory=list)
    """The projects that went back."""
    killed: list[str] = field(default_factory=list)

    def refuse_leftovers(self, projects: Sequence[ProjectDeployment]) -> None:
        """Raise LeftoverMessages before anything is touched when a project would come back to old messages."""
        self.fleet.observe({host for project in projects for host in project.hosts})
        buses = {project.name: self._bus_before(project) for project in projects}
        if any(bus is not None and bus.is_brokers(self.fleet.deployment) for bus in buses.values()):
            self.observe_brokers()
        self.drain.refuse_leftovers((project, buses[project.name]) for project in projects)

    def observe_brokers(self) -> None:
        """Learn which brokers run; raises HostsFailed when none of their hosts tells."""
        brokers = {host.name: host for host in self.fleet.deployment.rabbitmq}
        errors = ask_each(brokers, lambda names: self.fleet.observe([brokers[name] for name in names]))[1]
        if len(errors) == len(brokers):
            raise HostsFailed(errors)

    def carry_out(self, projects: Iterable[ProjectDeployment]) -> None:
        """Undo project after project; one that fails does not keep the others from going back.

        Raises HostsFailed with all that failed, at the end; DrainTimeout, LeftoverMessages when nothing else did.
        """
        errors: dict[str, HybridmsgError] = {}
        for project in projects:
            self.progress.event("", f"{project.name}: undoing: callers stop, its bus becomes idle, servers go back")
            try:
                self._carry(project)
            except HostsFailed as failed:
                # A host's first error is the cause of those that follow.
                errors = failed.errors | errors
                # Without the lock their other projects could not go back.
                self.fleet.take_again(set(failed.errors) - set(self.lost))
            except (DrainTimeout, LeftoverMessages) as error:
                if errors:
                    self.progress.event("", str(error))
                    break
                raise
        if errors:
            raise HostsFailed(errors)

    def _carry(self, project: ProjectDeployment) -> None:
        """Undo a project; whoever stops that half way wants it over, not his services stopped, unless he asks twice."""
        undo = self._undo_of(project)
        try:
            undo.carry_out(self._hooks(undo))
        except (Interrupted, KeyboardInterrupt) as error:
            if not (isinstance(error, RunInterrupted) and error.twice):
                self._finish(project)
            raise
        finally:
            self.killed += undo.killed
        self._record(project)

    def _finish(self, project: ProjectDeployment) -> None:
        """Put what is half way back on all hosts; a project of which nothing went back yet runs on as it did."""
        names = [host.name for host in project.hosts if host.name not in self.lost]
        errors = self.fleet.take_again(names)
        journals, more = ask_each([name for name in names if name not in errors], self._read_again)
        if is_going_back(project, journals):
            self.progress.event("", f"{project.name}: half way: goes back first; once more leaves it there")
            undo = self._undo_of(project)
            undo.fail(errors | more)
            undo.carry_out(Hooks(answered=lambda: await_baseline(self.fleet, self.run, undo.project, undo.there)))
            self._record(project)

    def _read_again(self, hosts: list[str]) -> Journals:
        found = read_journals(self.fleet, hosts, self.run.run)
        self.journals = {**self.journals, **found}
        return found

    def _record(self, project: ProjectDeployment) -> None:
        """Record that a project is back."""
        name, run = project.name, self.run
        run.projects = [one for one in run.projects if one != name]
        run.confirmed = [one for one in run.confirmed if one != name]
        self.done.append(name)
        self.store.save(run)
        self.fleet.tally.done(scope_of(project), {host.name: True for host in project.hosts})

    def end(self, state: State, error: BaseException | str | None = None, *, hold: bool = False) -> None:
        """End the run's record here and on its hosts, and hold them first if asked to; tell of hosts not reached."""
        run, text = self.run, None if error is None else str(error) or type(error).__name__
        run.outcomes = dict(self.fleet.tally.endings(error if isinstance(error, BaseException) else None))
        back = [name for name in run.held if name not in run.projects]
        for host, problem in place(self.fleet, run, back).items() if hold and back else ():
            self.progress.event(host, f"is not held: {problem}")
        for problem in record.end(self.fleet, self.store, run, state, text).values():
            self.progress.event("", f"{problem}. It was not told that run {run.run} is {state}")

    def _undo_of(self, project: ProjectDeployment) -> ProjectUndo:
        """Return the undo of a project on the hosts that can be asked; the errors of the others are its first."""
        there = tuple(host for host in project.hosts if host.name not in self.lost)
        return ProjectUndo(
            self.fleet,
            self.carrier,
            self.run.run,
            replace(project, hosts=there),
            {host.name: self.journals[host.name] for host in there if host.name in self.journals},
            force=self.force,
            merged=self.merged,
            errors={host.name: self.lost[host.name] for host in project.hosts if host.name in self.lost},
        )

    def _hooks(self, undo: ProjectUndo) -> Hooks:
        project = undo.project

        def drained() -> None:
            self._wait(project)

        def emptied() -> None:
            for wave in self.drain.enter(project, self._bus_before(project)):
                self.carrier.carry(wave)

        instead = self._all_the_same if project.name in self.split else _none_failed
        return Hooks(
            instead(undo, drained),
            instead(undo, emptied),
            answered=lambda: await_baseline(self.fleet, self.run, project, undo.there),
        )

    def _all_the_same(self, undo: ProjectUndo, wait: Callable[[], None]) -> Callable[[], None]:
        """Tell of what a wait finds, and go on: half a project on each bus is worse."""

        def told() -> None:
            try:
                wait()
            except (DrainTimeout, LeftoverMessages, HostsFailed) as error:
                problem = f"{undo.project.name}: goes back all the same, for it stands between old and new"
                self.progress.event("", f"{error}\n{problem}")

        return told

    def _wait(self, project: ProjectDeployment) -> None:
        try:
            self.drain.wait(project)
        except HostsFailed as failed:
            # The way back stands open also when what is left is the bus that broke.
            self.progress.event("", f"{failed}\n{project.name}: nobody tells of its bus, which is not waited for")

    def _bus_before(self, project: ProjectDeployment) -> RpcBus | None:
        """Return the bus that the project's RPC was on before the run, by the before-images kept here."""
        for host in project.hosts:
            if host.name not in self.fleet.facts:
                continue
            paths = files_of(self.run, host.name, project)
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


def state_after(run: Run, before: State) -> State:
    """Return the state of a run of which projects went back whole, by what it was `before`."""
    if not run.projects:
        return "rolled back"
    # A record may say rolling back of a run that was cut off before.
    if not {*run.projects} <= {*run.confirmed}:
        return "split"
    if before in ("running", "split"):
        return "failed"
    return "done" if before == "rolling back" else before


def files_of(run: Run, host: str, project: ProjectDeployment) -> list[str]:
    """Return the files of a project that the run was to change on a host."""
    return [path for path, before in run.files.get(host, {}).items() if before["project"] == project.name]


def _none_failed(undo: ProjectUndo, wait: Callable[[], None]) -> Callable[[], None]:
    """Let a wait raise HostsFailed when the project does not stand still everywhere: it can still stay where it is."""

    def checked() -> None:
        if undo.errors:
            raise HostsFailed(undo.errors)
        wait()

    return checked

"""Which run a rollback undoes, and which of its projects; what stands in the way of that."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.errors import BuiltUpon, ConfigurationError, HostError, HostsFailed, Mistake, NothingToRollBack
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment, ProjectDeployment


@dataclass(frozen=True)
class Asked:
    """What is asked of a rollback: `run` by its name, a beginning of it or `last`; "" is the newest that stands.

    `projects` are those that go back, none: all. `force` puts files back over what others set there since.
    """

    run: str = ""
    projects: tuple[str, ...] = ()
    force: bool = False
    purge_leftovers: bool = False
    remove_backends: bool = False


@dataclass(frozen=True)
class Choice:
    """A run, and its projects that go back in the order in which they do; none when they are back already."""

    run: Run
    projects: tuple[ProjectDeployment, ...]

    @property
    def names(self) -> list[str]:
        """Return the projects' names."""
        return [project.name for project in self.projects]


def choose(store: RunStore, deployment: Deployment, asked: Asked) -> Choice:
    """Return what is to go back.

    Raises NothingToRollBack, UnknownRun, RecordRefused; BuiltUpon when a later run that stands changed one of the
    projects too; ConfigurationError when the inventory no longer has what is to go back.
    """
    store = store.of(deployment)
    run = store.find(asked.run) if asked.run else _newest(store, asked.projects)
    names = _names(run, asked.projects)
    for later in store.runs():
        again = sorted({*later.projects} & names)
        if later.run > run.run and later.can_be_undone and again:
            raise BuiltUpon(run.run, later.run, again)
    refuse_other_inventory(run, names, deployment)
    return Choice(run, tuple(project for project in reversed(deployment.projects) if project.name in names))


def _newest(store: RunStore, projects: Collection[str]) -> Run:
    if not projects:
        return store.last_to_undo()
    for run in sorted(store.runs(), key=lambda run: not run.unfinished):
        if run.can_be_undone and {*projects} <= {*run.projects}:
            return run
    raise NothingToRollBack(f"nothing to roll back: no run that stands changed {', '.join(projects)}")


def _names(run: Run, projects: Collection[str]) -> set[str]:
    """Return the projects that are to go back and have not yet; raises NothingToRollBack for one that never moved."""
    strange = {*projects} - {*run.projects, *run.held}
    if strange:
        raise NothingToRollBack(f"run {run.run} left {', '.join(sorted(strange))} as it was")
    if projects:
        return {*projects} & {*run.projects}
    # One that was cut off goes on with what it was asked for, be it nothing any more.
    return {*run.projects} & {*run.held} if run.state == "rolling back" else {*run.projects}


def refuse_other_inventory(run: Run, names: Collection[str], deployment: Deployment) -> None:
    """Raise ConfigurationError for everything of these projects of a run that the inventory no longer has."""
    problem = "was changed by the run to be undone and is no longer in the inventory: put it back for the rollback"
    hosts = {project.name: {host.name for host in project.hosts} for project in deployment.projects}
    gone = [name for name in run.projects if name in names and name not in hosts]
    for host, path, project in written_files(run):
        if project in names and host not in deployment.hosts:
            gone.append(host)
        elif project in names and project in hosts and host not in hosts[project]:
            gone.append(f"{host}: {path}")
    if gone:
        raise ConfigurationError([Mistake(str(deployment.directory), one, problem) for one in dict.fromkeys(gone)])


def refuse_forgotten(choice: Choice, journals: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Raise HostsFailed for each host that these projects are proven on, and that knows nothing of the run any more.

    Hosts forget old runs each for itself: one that took part in few may be the last that knows this one.
    """
    run, names = choice.run, {*choice.names} & {*choice.run.confirmed}
    problem = f"nothing is known of what run {run.run} changed on it: neither its journal nor a copy here has that"
    remedy = (
        "Old runs are forgotten (`journal` in defaults.yaml). Nothing was touched; migrate to what is wanted instead"
    )
    known = {host: {entry["scope"] for entry in entries} for host, entries in journals.items()}
    forgotten = {
        host: HostError(host, problem, remedy)
        for host, _, project in written_files(run)
        if project in names and f"project:{project}" not in known.get(host, {f"project:{project}"})
    }
    if forgotten:
        raise HostsFailed({**forgotten})


def written_files(run: Run) -> Iterator[tuple[str, str, str]]:
    """Yield host, path and project of each file that the run was to change."""
    for host, files in run.files.items():
        for path, before in files.items():
            yield host, path, before["project"]

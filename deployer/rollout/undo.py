"""Put a project back on all its hosts: callers and servers stop, cells and files go back, servers and callers start.

What to put back is the hosts' own journals' word. What has to stop first is whatever runs now, and is journaled as a
run of its own (`RUN-undo`), so that an undo that is cut off can be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import HostError, HostsFailed, HybridmsgError, StepFailed
from deployer.model.deployment import ProjectDeployment
from deployer.plan.cell_moves import MOVE_TIMEOUT
from deployer.plan.expected import active_units
from deployer.plan.steps import Intent, Wave
from deployer.rollout.carry import LONGEST_STOP, Carrier, killed_units
from deployer.rollout.fleet import Fleet, ask_each
from tasks.journal import read_history
from tasks.steps import Merged

Entry = Mapping[str, Any]
Journals = Mapping[str, list[Entry]]

FILES = frozenset({"file.write"})
"""The kinds of steps that write a project's files."""
CELLS = frozenset({"nova.cells"})
"""The kinds that write its cell mappings."""
_COMMIT = frozenset({"commit.begin", "commit.confirm"})
_MEND = "`hybridmsg rollback` replaces it with the copy in the controller's record"


def read_journals(fleet: Fleet, hosts: Iterable[str], run: str) -> dict[str, list[Entry]]:
    """Return, by host, the last line of each step of the run, oldest first; a damaged one raises HostsFailed too."""
    results = fleet.run(hosts, read_history, run=run)
    told = {host: result.runs for host, result in results.items()}  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
    damaged = {host: one["damaged"] for host, runs in told.items() for one in runs if "damaged" in one}
    if damaged:
        raise HostsFailed({host: HostError(host, problem, _MEND) for host, problem in damaged.items()})
    return {host: last_lines(entry for one in runs for entry in one["entries"]) for host, runs in told.items()}


def last_lines(lines: Iterable[Entry]) -> list[Entry]:
    """Return the last line of each step, in the order in which the steps began."""
    return list({line["step"]: line for line in lines}.values())


@dataclass(frozen=True)
class Hooks:
    """What the order waits for: `drained` before servers stop, `emptied` when nothing runs and before anything goes
    back (what either raises gives the undo up), `answered` before callers start.
    """

    drained: Callable[[], None] = lambda: None
    emptied: Callable[[], None] = lambda: None
    answered: Callable[[], None] = lambda: None


@dataclass
class ProjectUndo:
    """The undo of one project of one run on the hosts of `journals`; `errors` has the first of each that failed."""

    fleet: Fleet
    carrier: Carrier
    run: str
    project: ProjectDeployment
    journals: Journals
    force: bool = False
    merged: Mapping[str, Merged] = field(default_factory=dict, repr=False)
    """By host, what some files get instead of their before-image."""
    errors: dict[str, HybridmsgError] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    """Units that did not stop when asked, like `heat-engine on ctl1`: what they were executing is lost."""
    left_out: set[str] = field(default_factory=set)
    """Hosts whose files could not be put back, or that cannot be asked any more."""

    @property
    def there(self) -> list[str]:
        """Return the hosts that go along still."""
        names = [host.name for host in self.project.hosts if host.name in self.journals]
        return [name for name in names if name not in self.left_out]

    def carry_out(self, hooks: Hooks) -> None:
        """Undo what the run did for the project; a host that fails does not keep the others from going back.

        Raises HostsFailed with all that failed, at the end; what a hook raises before anything is put back, when what
        this undo stopped runs again.
        """
        stops = _Stops(self)
        if self._changed():
            try:
                self._stand_still(stops, hooks)
            except BaseException:
                stops.resume()
                raise
            # Before any file: all hosts share them. Where they cannot go back the project stays whole where it is.
            if self._undo(CELLS):
                self.left_out.clear()
                stops.start(servers=True)
                stops.start(servers=False)
                # Nor may any host go back by itself.
                self._undo(_COMMIT)
                raise HostsFailed(self.errors)
            self._undo(FILES | {"unit.start"})
        stops.start(servers=True)
        hooks.answered()
        stops.start(servers=False)
        # Last, and only where all else is back: until then the host's guard would do it if this is cut off.
        self._undo(_COMMIT)
        if self.errors:
            raise HostsFailed(self.errors)

    def _stand_still(self, stops: _Stops, hooks: Hooks) -> None:
        stops.stop(servers=False)
        hooks.drained()
        stops.stop(servers=True)
        hooks.emptied()

    def _changed(self) -> bool:
        """Whether the run changed what the project's units read; else they run, or are to start, on what is there."""
        return any(chosen(entries, self.project, FILES | CELLS) for entries in self.journals.values())

    def _own(self) -> dict[str, list[Entry]]:
        return {host: _of(entries, self.project) for host, entries in self.journals.items()}

    def _undo(self, kinds: frozenset[str]) -> dict[str, HybridmsgError]:
        """Put back what the run's steps of these kinds changed and return the errors of hosts where that failed."""
        failed = self.undo_entries(self.run, self._own(), lambda entry: entry["kind"] in kinds)
        self.fail(failed)
        return failed

    def fail(self, errors: Mapping[str, HybridmsgError]) -> None:
        """Leave hosts that failed out from now on."""
        # A host's first error is the cause of those that follow.
        self.errors = {**errors, **self.errors}
        self.left_out.update(errors)

    def undo_entries(self, run: str, journals: Journals, wanted: Callable[[Entry], bool]) -> dict[str, HybridmsgError]:
        """Undo the steps of a run that stand and are wanted, on all hosts that are not left out, at once."""
        todo = {
            host: [one for one in entries if _stands(one) and wanted(one)]
            for host, entries in journals.items()
            if host not in self.left_out
        }
        steps = {host: [one["step"] for one in own] for host, own in todo.items() if own}
        deadline = _deadline(self.fleet.deployment.timeouts.step, todo)
        merged = (
            {host: _those(self.merged.get(host, {}), own) for host, own in steps.items()} if run == self.run else {}
        )
        return self.carrier.take_back(run, steps, force=self.force, deadline=deadline, merged=merged)


class _Stops:
    """The project's units, stopped for the undo and started after it."""

    def __init__(self, undo: ProjectUndo) -> None:
        self._undo = undo

    def stop(self, *, servers: bool) -> None:
        """Stop what runs now, whoever started it: it runs on the files that are to go."""
        undo = self._undo
        hosts, timeout = undo.fleet.deployment.hosts, undo.fleet.deployment.timeouts.step
        facts, failed = ask_each(undo.there, lambda names: undo.fleet.observe([hosts[name] for name in names]))
        undo.fail(failed)
        intents: dict[str, tuple[Intent, ...]] = {}
        for host in undo.there:
            units = [unit.name for unit in active_units(undo.project, facts[host])]
            intents[host] = tuple(
                Intent("unit.stop", {"unit": unit, "timeout": timeout}, f"stop {unit}")
                for unit in units
                if _is_server(undo.project, unit) == servers
            )
        intents = {host: own for host, own in intents.items() if own}
        try:
            undo.killed += killed_units(
                undo.carrier.carry(Wave(f"{undo.project.name}: stop", scope_of(undo.project), intents))
            )
        except HostsFailed as error:
            undo.fail(error.errors)

    def start(self, *, servers: bool) -> None:
        """Start what was stopped, by the run or for its undo, on every host whose files are back."""
        self._start(self._undo.run, self._undo.journals, servers=servers)
        self._start(self._undo.carrier.run, self._stopped(), servers=servers)

    def resume(self) -> None:
        """Start what was stopped for the undo, which is given up; hosts that failed are asked again."""
        self._undo.left_out.clear()
        stopped = self._stopped()
        for servers in (True, False):
            self._start(self._undo.carrier.run, stopped, servers=servers)

    def _stopped(self) -> Journals:
        undo = self._undo
        stopped, failed = ask_each(undo.there, lambda names: read_journals(undo.fleet, names, undo.carrier.run))
        undo.fail(failed)
        return stopped

    def _start(self, run: str, journals: Journals, *, servers: bool) -> None:
        undo = self._undo
        own = {host: chosen(entries, undo.project, {"unit.stop"}) for host, entries in journals.items()}
        failed = undo.undo_entries(run, own, lambda entry: _is_server(undo.project, entry["target"]) == servers)
        undo.errors = failed | undo.errors
        # A unit that does not start does not keep the host's others from it.
        undo.left_out.update(host for host, error in failed.items() if not isinstance(error, StepFailed))


def _deadline(step: float, journals: Journals) -> float:
    """Return what the slowest host may take to undo these: the agent's own deadlines, which end first, and a step's."""
    entries = [one for own in journals.values() for one in own]
    stops = any(one["kind"] == "unit.start" for one in entries)
    moves = any(one["kind"] in CELLS for one in entries)
    return step * (1 + max(map(len, journals.values()), default=0)) + stops * LONGEST_STOP + moves * MOVE_TIMEOUT


def _is_server(project: ProjectDeployment, unit: str) -> bool:
    """Whether a unit, named with its suffix or without, answers RPC."""
    return any(unit.removesuffix(".service") in one.names for one in project.project.units if one.role == "server")


def scope_of(project: ProjectDeployment) -> str:
    """Return the scope that a project's steps bear in journals."""
    return f"project:{project.name}"


def chosen(entries: Iterable[Entry], project: ProjectDeployment, kinds: Collection[str]) -> list[Entry]:
    """Return the steps of a project and of some kinds that stand, in their order."""
    return [entry for entry in _of(entries, project) if entry["kind"] in kinds and _stands(entry)]


def _of(entries: Iterable[Entry], project: ProjectDeployment) -> list[Entry]:
    return [entry for entry in entries if entry["scope"] == scope_of(project)]


def _those(merged: Merged, steps: Collection[str]) -> Merged:
    return {step: one for step, one in merged.items() if step in steps}


def _stands(entry: Entry) -> bool:
    """Whether a step was begun and not undone; a failed start left a dead unit and stands too."""
    return str(entry["status"]) != "undone"

"""Put a project back on all its hosts: callers and servers stop, cells and files go back, servers and callers start.

What to put back is the hosts' own journals' word. What has to stop first is whatever runs now, and is journaled as a
run of its own (`RUN-undo`), so that an undo that is cut off can be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import HostsFailed, HybridmsgError, StalePlan, StepFailed
from deployer.model.deployment import ProjectDeployment
from deployer.plan.cell_moves import MOVE_TIMEOUT
from deployer.plan.expected import active_units
from deployer.plan.query import query
from deployer.plan.steps import Intent, Wave
from deployer.rollout.carry import LONGEST_STOP, Carrier, killed_units
from deployer.rollout.fleet import Fleet, ask_each
from tasks.steps import read_history, undo_steps

Entry = Mapping[str, Any]
Journals = Mapping[str, list[Entry]]

_FILES = frozenset({"file.write"})
_CELLS = frozenset({"nova.cells"})


def read_journals(fleet: Fleet, hosts: Iterable[str], run: str) -> dict[str, list[Entry]]:
    """Return, by host, the last line of each step of the run, oldest first."""
    results = fleet.run(hosts, read_history, run=run)
    journals = {}
    for host, result in results.items():
        lines = [entry for one in result.runs for entry in one["entries"]]  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        journals[host] = list({entry["step"]: entry for entry in lines}.values())
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
    errors: dict[str, HybridmsgError] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    """Units that did not stop when asked, like `heat-engine on ctl1`: what they were executing is lost."""
    left_out: set[str] = field(default_factory=set)
    """Hosts whose files could not be put back, or that cannot be asked any more."""

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
            if self._undo(_CELLS):
                self.left_out.clear()
                stops.start(servers=True)
                stops.start(servers=False)
                raise HostsFailed(self.errors)
            self._undo(_FILES | {"unit.start"})
        stops.start(servers=True)
        hooks.answered()
        stops.start(servers=False)
        if self.errors:
            raise HostsFailed(self.errors)

    def _stand_still(self, stops: _Stops, hooks: Hooks) -> None:
        stops.stop(servers=False)
        hooks.drained()
        stops.stop(servers=True)
        hooks.emptied()

    def _changed(self) -> bool:
        """Whether the run changed what the project's units read; else they run, or are to start, on what is there."""
        return any(entry["kind"] in _FILES | _CELLS and _stands(entry) for own in self._own().values() for entry in own)

    def _own(self) -> dict[str, list[Entry]]:
        scope = _scope(self.project)
        return {host: [one for one in entries if one["scope"] == scope] for host, entries in self.journals.items()}

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
        chosen = {
            host: [one for one in entries if _stands(one) and wanted(one)]
            for host, entries in journals.items()
            if host not in self.left_out
        }
        steps = {host: [one["step"] for one in own] for host, own in chosen.items() if own}
        deadline = _deadline(self.fleet.deployment.timeouts.step, chosen)
        return self.fleet.attempt(steps, undo_steps, run=run, steps=steps, force=self.force, deadline=deadline)[1]


class _Stops:
    """The project's units, stopped for the undo and started after it."""

    def __init__(self, undo: ProjectUndo) -> None:
        self._undo = undo

    def _hosts(self) -> list[str]:
        undo = self._undo
        names = [host.name for host in undo.project.hosts if host.name in undo.journals]
        return [name for name in names if name not in undo.left_out]

    def stop(self, *, servers: bool) -> None:
        """Stop what runs now, whoever started it: it runs on the files that are to go."""
        undo = self._undo
        hosts, timeout = undo.fleet.deployment.hosts, undo.fleet.deployment.timeouts.step
        facts, failed = ask_each(self._hosts(), lambda names: undo.fleet.observe([hosts[name] for name in names]))
        undo.fail(failed)
        intents: dict[str, tuple[Intent, ...]] = {}
        for host in self._hosts():
            units = [unit.name for unit in active_units(undo.project, facts[host])]
            intents[host] = tuple(
                Intent("unit.stop", {"unit": unit, "timeout": timeout}, f"stop {unit}")
                for unit in units
                if _is_server(undo.project, unit) == servers
            )
        intents = {host: own for host, own in intents.items() if own}
        try:
            undo.killed += killed_units(
                undo.carrier.carry(Wave(f"{undo.project.name}: stop", _scope(undo.project), intents))
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
        stopped, failed = ask_each(self._hosts(), lambda names: read_journals(undo.fleet, names, undo.carrier.run))
        undo.fail(failed)
        return stopped

    def _start(self, run: str, journals: Journals, *, servers: bool) -> None:
        undo = self._undo
        own = {host: _of(entries, {_scope(undo.project)}, {"unit.stop"}) for host, entries in journals.items()}
        failed = undo.undo_entries(run, own, lambda entry: _is_server(undo.project, entry["target"]) == servers)
        undo.errors = failed | undo.errors
        # A unit that does not start does not keep the host's others from it.
        undo.left_out.update(host for host, error in failed.items() if not isinstance(error, StepFailed))


def _deadline(step: float, journals: Journals) -> float:
    """Return what the slowest host may take to undo these: the agent's own deadlines, which end first, and a step's."""
    entries = [one for own in journals.values() for one in own]
    stops = any(one["kind"] == "unit.start" for one in entries)
    moves = any(one["kind"] in _CELLS for one in entries)
    return step * (1 + max(map(len, journals.values()), default=0)) + stops * LONGEST_STOP + moves * MOVE_TIMEOUT


def _is_server(project: ProjectDeployment, unit: str) -> bool:
    """Whether a unit, named with its suffix or without, answers RPC."""
    return any(unit.removesuffix(".service") in one.names for one in project.project.units if one.role == "server")


def _scope(project: ProjectDeployment) -> str:
    return f"project:{project.name}"


def _of(entries: Iterable[Entry], scopes: Iterable[str], kinds: Iterable[str]) -> list[Entry]:
    return [entry for entry in entries if entry["scope"] in scopes and entry["kind"] in kinds]


def _stands(entry: Entry) -> bool:
    """Whether a step was begun and not undone; a failed start left a dead unit and stands too."""
    return str(entry["status"]) != "undone"

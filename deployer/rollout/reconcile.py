"""Reconcile: an interrupted run is brought to an end first, then whatever drifted since is migrated again.

Unlike `migrate` nobody asked for it now: what a rollback holds is left as it is, and where nothing drifted nothing is
sent but questions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Literal

from deployer.errors import (
    ConfigurationError,
    Finding,
    HostError,
    HostsFailed,
    HybridmsgError,
    Interrupted,
    PreflightFailed,
)
from deployer.journal.adopt import Told, adopt, newest
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.drift import Drift, defeats, drift
from deployer.plan.planner import Plan, make_plan
from deployer.plan.router_checks import router_checks
from deployer.plan.saved import fingerprint
from deployer.rollout.endings import telling, untouched
from deployer.rollout.fleet import Fleet
from deployer.rollout.heal import Healed, heal
from deployer.rollout.hold import Hold, held, read
from deployer.rollout.memory import recall, remember
from deployer.rollout.migrate import Rollout
from deployer.rollout.outcome import Migration
from deployer.rollout.preflight import examine, tell
from deployer.rollout.record import ask_histories
from deployer.rollout.verify import ask_all

State = Literal["in line", "drift", "repaired", "held", "failed"]
COMMAND = "reconcile"
TRIES = 3
"""How often in a row the same changes may fail before a person is needed: each time costs the project a pause."""
PENDING = 2
SILENT = 3
HELD = 7


@dataclass
class Reconciled:
    """What a reconcile found and did, as far as it came: with an `error` the rest is what was known until then.

    `drift` is what was found before anything was repaired, `unfinished` names runs that were cut off (those of a
    `check` go on, perhaps), `healed` what became of them. `hold` is what keeps hosts from being changed. `hosts` is how
    each ended, `seconds` how long it all took, `when` it began (ISO 8601, UTC).
    """

    inventory: str
    check: bool
    deep: bool
    when: str
    state: State = "failed"
    drift: list[Drift] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    healed: list[Healed] = field(default_factory=list)
    hold: dict[str, Hold] = field(default_factory=dict)
    migration: Migration | None = None
    run: Run | None = None
    hosts: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    error: HybridmsgError | None = None

    @property
    def ok(self) -> bool:
        """Whether all is in line now."""
        return self.state in ("in line", "repaired")

    @property
    def exit_code(self) -> int:
        """Return what the program ends with: an error's own, 7 held, 2 drift, else 0.

        3 when something does not answer that was to be repaired; a check only reports: it is drift like any other.
        """
        if self.error is not None:
            return self.error.exit_code
        if self.state == "drift":
            return SILENT if not self.check and any(one.kind == "rpc" for one in self.drift) else PENDING
        return HELD if self.state == "held" else 0


@dataclass(frozen=True)
class Mode:
    """How to go about it: `check` only reports and takes no lock; `deep` also looks at brokers, cells and answers."""

    check: bool = False
    deep: bool = False


def reconcile(
    load: Callable[[], Deployment], store: RunStore, progress: Progress, inventory: str, mode: Mode
) -> Reconciled:
    """Reconcile the deployment that `load` reads; return what came of it, an error too: none is raised."""
    began = datetime.now(timezone.utc)
    found = Reconciled(inventory, mode.check, mode.deep, began.isoformat(timespec="seconds"))
    try:
        deployment = load()
        with Fleet(deployment, progress) as fleet, telling(fleet.tally):
            _Reconcile(fleet, store.of(deployment), progress, found).carry_out()
            found.hosts = dict(fleet.tally.endings())
    except (HybridmsgError, KeyboardInterrupt) as error:
        found.error = error if isinstance(error, HybridmsgError) else Interrupted()
        found.hosts, found.state = dict(found.error.hosts), "failed"
    except OSError as error:
        found.error, found.state = HostError("this machine", str(error)), "failed"
    found.seconds = (datetime.now(timezone.utc) - began).total_seconds()
    return found


class _Reconcile:
    def __init__(self, fleet: Fleet, store: RunStore, progress: Progress, found: Reconciled) -> None:
        self._fleet, self._store, self._progress, self._found = fleet, store, progress, found

    def carry_out(self) -> None:
        run = self._store.begin(COMMAND, self._fleet.deployment.directory)
        with untouched():
            lost = {} if self._found.check else self._fleet.take(run.run)
            runs = self._runs(lost)
        if not self._found.check:
            self._heal(runs, lost)
        with untouched():
            plan = self._look(lost, runs)
            settled = plan is not None and not plan.changed
            if settled or self._found.check or self._found.hold:
                self._found.state = self._standing()
                return
            plan = self._examine()
            _refuse_again(plan, runs)
        self._repair(plan, run)

    def _standing(self) -> State:
        """Return how all stands that is left as it is."""
        if self._found.hold:
            return "held"
        cut_off = self._found.check and self._found.unfinished
        return "drift" if self._found.drift or cut_off else "in line"

    def _runs(self, lost: dict[str, HybridmsgError]) -> list[Run]:
        """Return the cloud's runs that this machine or a host knows, newest first; adds to `lost` who does not tell."""
        hosts = [name for name in self._fleet.deployment.hosts if name not in lost]
        histories, errors = ask_histories(self._fleet, hosts)
        lost.update(errors)
        self._found.hold = held({host: answer["hold"] for host, answer in histories.items()})
        if not self._found.check:
            adopt(self._store, histories)
        runs, refused = newest(self._store, Told.of(histories))
        runs = self._store.own(runs)
        for problem in refused:
            self._progress.event("", str(problem))
        self._found.unfinished = [run.run for run in runs if run.unfinished]
        return runs

    def _heal(self, runs: Iterable[Run], lost: Collection[str]) -> None:
        for run in (one for one in runs if one.unfinished):
            self._progress.event("", f"run {run.run} was cut off: what it did not prove goes back first")
            self._found.healed.append(heal(self._fleet, self._store, self._progress, run))
        if self._found.healed:
            there = [name for name in self._fleet.deployment.hosts if name not in lost]
            self._found.hold = read(self._fleet, there)

    def _look(self, lost: Mapping[str, HybridmsgError], runs: Iterable[Run]) -> Plan | None:
        """Look for drift; return the plan, None while none can be made. Raises HostsFailed of hosts not seen."""
        fleet, found = self._fleet, self._found
        seen = [name for name in fleet.deployment.hosts if name not in lost]
        errors = {**lost, **fleet.examine(seen, logging_in=False, deep=found.deep)[1]}
        backends = {host.name for host in (*fleet.deployment.rabbitmq, *fleet.deployment.qdrouterd)}
        unseen = {name: one for name, one in errors.items() if name in backends or name not in fleet.deployment.waive}
        fleet.leave_out(name for name in errors if name not in backends)
        plan = None
        if not errors.keys() & backends:
            plan = self._plan(runs)
        if unseen:
            raise HostsFailed(unseen)
        return plan

    def _plan(self, runs: Iterable[Run]) -> Plan | None:
        fleet, found = self._fleet, self._found
        try:
            if found.deep:
                fleet.observe_cells()
            plan = make_plan(fleet.deployment, fleet.facts, recall(self._store), deep=found.deep)
        except ConfigurationError as refused:
            found.drift = defeats(refused.mistakes, fleet.deployment.hosts)
            return None
        checks = ask_all(fleet, runs) if found.deep else router_checks(fleet.deployment, fleet.facts)
        found.drift = drift(plan, checks)
        fleet.tally.plan(plan.waves())
        if not found.check:
            remember(fleet, self._store)
        return plan

    def _examine(self) -> Plan:
        """Return the whole plan, with brokers and cells whatever the look was: nothing is repaired by halves."""
        examined = examine(self._fleet, self._store, {})
        tell(examined.findings, self._progress)
        return examined.must_hold()

    def _repair(self, plan: Plan, run: Run) -> None:
        if plan.changed:
            run = self._found.run = self._store.begin_last(run)
            self._found.migration = Rollout(self._fleet, self._store, run, self._progress, purge=False).carry_out(plan)
        self._found.state = "repaired"


def _refuse_again(plan: Plan, newest_first: Iterable[Run]) -> None:
    """Raise PreflightFailed when the last runs were reconciles that failed on just these changes."""
    last = itertools.islice(newest_first, TRIES)
    failed = [run for run in last if run.command == COMMAND and run.state == "failed"]
    if len(failed) == TRIES and all(run.fingerprint == fingerprint(plan, run.salt) for run in failed):
        detail = f"the last {TRIES} reconciles failed on the same changes, the newest with: {failed[0].error}"
        remedy = "Mend that, then run migrate: what fails again and again only pauses services"
        raise PreflightFailed([Finding("", COMMAND, "failed", detail, remedy)])

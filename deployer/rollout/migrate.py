"""Bring the cloud to what its inventory says: brokers, routers, libraries, then project by project, each proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployer.errors import HEAL, HybridmsgError, Interrupted, UndoFailed, UnfinishedRun
from deployer.journal.adopt import adopt
from deployer.journal.run import Run, State
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.expected import unit_states
from deployer.plan.flapping import changed_options
from deployer.plan.planner import Plan
from deployer.plan.projects import ProjectPlan
from deployer.plan.saved import SavedPlan, fingerprint
from deployer.rollout import record
from deployer.rollout.backend import bring_brokers
from deployer.rollout.baseline import ask_before
from deployer.rollout.bus import Bus
from deployer.rollout.carry import Carrier
from deployer.rollout.drain import Drain
from deployer.rollout.endings import telling, untouched
from deployer.rollout.fleet import Fleet
from deployer.rollout.hold import lift
from deployer.rollout.memory import remember
from deployer.rollout.outcome import Migration, Pause
from deployer.rollout.preflight import examine, gate_logins, tell
from deployer.rollout.put_back import PutBack
from deployer.rollout.record import ask_histories
from deployer.rollout.routers import bring_routers, deserted_routers, remove_routers
from deployer.rollout.saved_plans import select
from deployer.rollout.switch import Switch, planned_bus


@dataclass(frozen=True)
class Options:
    """What an operator asks of a migration. With a `saved` plan only projects that it still fits are touched.

    `purge_leftovers` deletes what old RPC queues hold, `remove_backends` removes routers that left the inventory's
    group.
    """

    saved: SavedPlan | None = None
    purge_leftovers: bool = False
    remove_backends: bool = False


USUAL = Options()


def migrate(
    deployment: Deployment,
    store: RunStore,
    progress: Progress,
    planned: Callable[[Plan], None],
    options: Options = USUAL,
) -> Migration:
    """Migrate; `planned` is called with what is carried out of the plan before anything changes.

    A project whose servers do not answer on the new bus goes back as a whole, and the run stops there: GateFailed,
    DrainTimeout or HostsFailed. Raises PreflightFailed, PlanOutdated, LeftoverMessages (unless `purge_leftovers`),
    HostsFailed of Locked before anything is touched.
    """
    store = store.of(deployment)
    with Fleet(deployment, progress) as fleet, telling(fleet.tally):
        run = store.begin("migrate", deployment.directory)
        with untouched():
            taken = _take(fleet, store, run)
            run = store.begin_last(run)
            plan = _plan(fleet, store, taken.lost, progress)
            chosen = select(plan, options.saved)
            for line in chosen.lines:
                progress.event("", line)
            planned(chosen.plan)
        # Whoever asks for a migration has decided: what a rollback left is for those that nobody asks.
        for line in dict.fromkeys(map(str, lift(fleet, taken.held).values())):
            progress.event("", f"{line}; lifted now")
        rollout = Rollout(fleet, store, run, progress, purge=options.purge_leftovers)
        done = rollout.carry_out(plan, chosen.only) if chosen.plan.changed else Migration(chosen.plan)
        done.stale = chosen.stale
        if options.remove_backends:
            rollout.remove_routers()
        done.hosts = fleet.tally.endings()
        return done


@dataclass(frozen=True)
class _Taken:
    """`lost` are the hosts that could not be taken, being out of reach; `held` those that a rollback holds."""

    lost: Mapping[str, HybridmsgError]
    held: list[str]


def _take(fleet: Fleet, store: RunStore, run: Run) -> _Taken:
    """Take the hosts; raises HostsFailed of Locked, UnfinishedRun, also of a run that another machine began."""
    lost = fleet.take(run.run)
    histories = ask_histories(fleet, [name for name in fleet.deployment.hosts if name not in lost])[0]
    adopt(store, histories)
    unfinished = next((one for one in store.runs() if one.unfinished), None)
    if unfinished is not None:
        raise UnfinishedRun(unfinished.run)
    return _Taken(lost, [host for host, answer in histories.items() if answer["hold"]])


def _plan(fleet: Fleet, store: RunStore, lost: Mapping[str, HybridmsgError], progress: Progress) -> Plan:
    """Look at the hosts and return what is to be done; raises PreflightFailed."""
    found = examine(fleet, store, lost)
    tell(found.findings, progress)
    plan = found.must_hold()
    fleet.tally.plan(plan.waves())
    return plan


class Rollout:
    """Carries plans out as one run, over a fleet whose hosts are taken; `purge`: delete what old RPC queues hold."""

    def __init__(self, fleet: Fleet, store: RunStore, run: Run, progress: Progress, *, purge: bool) -> None:
        self._fleet, self._store, self._run, self._progress = fleet, store, run, progress
        self._carrier = Carrier(fleet, store, run)
        self._drain = Drain(fleet, progress, purge=purge)
        self._switch = Switch(fleet, self._carrier, self._drain)
        self._bus = Bus(fleet)
        self._back = PutBack(fleet, store, run, progress)
        self._pauses: list[Pause] = []

    def carry_out(self, plan: Plan, only: set[str] | None = None) -> Migration:
        """Bring brokers, routers and projects to the plan; projects not in `only` are neither touched nor verified.

        A project that fails goes back as a whole, and the run ends there: GateFailed, DrainTimeout, LeftoverMessages,
        HostsFailed, Interrupted; UndoFailed where it could not go back.
        """
        self._fleet.tally.plan(plan.waves())
        plan = plan if only is None else plan.of(only)
        changed = [one.project for one in plan.projects if one.changed]
        self._drain.refuse_leftovers((project, planned_bus(plan.deployment, project)) for project in changed)
        try:
            self._record(plan)
            checks = self._stages(plan)
        except (Interrupted, KeyboardInterrupt) as error:
            self._end("interrupted", error)
            raise Interrupted(self._where()) from error
        except UndoFailed as error:
            self._end("split", error)
            if error.broken_off:
                raise Interrupted(self._half_way(error.project)) from error
            raise
        except BaseException as error:
            self._end("failed", error)
            raise
        self._end("done")
        return Migration(plan, self._run, self._pauses, checks)

    def remove_routers(self) -> None:
        """Remove the routers that left the inventory's group, as the last of the run; raises HostsFailed."""
        deserted = deserted_routers(self._fleet)
        if not deserted:
            return
        try:
            remove_routers(self._fleet, self._carrier, deserted)
        except BaseException as error:
            # What it had switched stands all the same.
            if self._run.unfinished:
                self._end("failed", error)
            raise
        self._end("done")

    def _end(self, state: State, error: BaseException | None = None) -> None:
        """End the record here, and on the hosts unless they are not to be waited for."""
        run, why = self._run, None if error is None else str(error) or type(error).__name__
        run.outcomes = dict(self._fleet.tally.endings(error))
        if isinstance(error, UndoFailed) and error.broken_off:
            self._store.end(run, state, why)
            return
        for problem in record.end(self._fleet, self._store, run, state, why).values():
            self._progress.event("", f"{problem}. It was not told that run {run.run} is {state}")

    def _stages(self, plan: Plan) -> list[Check]:
        bring_brokers(self._fleet, self._carrier)
        if not _keeps_routers(plan):
            bring_routers(self._fleet, self._carrier)
        self._carrier.carry(plan.staging)
        changed = [project for project in plan.projects if project.changed]
        if changed:
            gate_logins(self._fleet)
        for project in changed:
            self._carry_project(project)
        # Of brokers and routers the verification asks itself.
        self._fleet.observe({host.name: host for one in plan.projects for host in one.project.hosts}.values())
        remember(self._fleet, self._store)
        expected = {one.project.name: one.servers for one in plan.projects}
        checks = self._bus.verify(expected, self._run.units, plan.deployment.timeouts.gate)
        self._bus.must_hold("verify", checks)
        return checks

    def _carry_project(self, plan: ProjectPlan) -> None:
        name = plan.project.name
        self._progress.event("", f"{name}: switching: callers stop, its bus becomes idle, servers move, callers start")
        try:
            self._run.projects.append(name)
            self._store.save(self._run)
            pause = self._switch.carry(plan)
            self._run.confirmed.append(name)
            self._store.save(self._run)
        except BaseException as error:
            self._back.put_back(plan.project, error)
            raise
        if not plan.lasts:
            self._forget(name)
        self._pauses.append(pause)
        self._progress.event("", str(pause))

    def _forget(self, project: str) -> None:
        """Leave out of the record what a rollback would have nothing to put back of."""
        self._run.projects.remove(project)
        self._run.confirmed.remove(project)
        self._store.save(self._run)

    def _where(self) -> str:
        """Say where an interrupted run stands."""
        if not self._run.projects:
            return "No service was left changed. Run migrate again to go on"
        stand = ", ".join(self._run.projects)
        return f"Migrated and proven: {stand}; nothing else was left changed. Run migrate again to go on, or roll back"

    def _half_way(self, project: str) -> str:
        """Say where a run stands whose operator did not wait for a project to go back."""
        seconds = self._fleet.deployment.timeouts.confirm
        alone = f"its hosts put it back by themselves when nobody confirms it within {seconds:g} s of its beginning"
        return f"{project} stands between old and new: {alone}; {HEAL}"

    def _record(self, plan: Plan) -> None:
        remember(self._fleet, self._store)
        run, facts = self._run, self._fleet.facts
        run.hosts = list(self._fleet.deployment.hosts)
        run.fingerprint = fingerprint(plan, run.salt)
        for project in plan.projects:
            run.options[project.project.name] = changed_options(project)
            for host, edit in ((host, edit) for host, own in project.edits.items() for edit in own):
                identity = {**edit.fact.identity(), "project": project.project.name}
                run.files.setdefault(host, {})[edit.path] = identity
            for one in project.project.hosts if project.changed else ():
                run.units.setdefault(one.name, {}).update(unit_states(project.project, facts[one.name]))
        run.baseline = ask_before(self._fleet, plan)
        self._store.save(run)


def _keeps_routers(plan: Plan) -> bool:
    """Whether nothing is done on the routers' hosts, so that their mesh is as the preflight has just proven it."""
    routers = {host.name for host in plan.deployment.qdrouterd}
    return routers.isdisjoint(
        host for wave in plan.waves() if wave.scope.startswith("backend:") for host in wave.intents
    )

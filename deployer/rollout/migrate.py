"""Bring the cloud to what its inventory says: brokers, routers, libraries, then project by project, each proven."""

from __future__ import annotations

from collections.abc import Callable

from deployer.errors import Interrupted, UndoFailed, UnfinishedRun
from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.expected import unit_states
from deployer.plan.flapping import changed_options
from deployer.plan.planner import Plan
from deployer.plan.projects import ProjectPlan
from deployer.rollout.backend import bring_brokers
from deployer.rollout.baseline import ask_before, await_baseline
from deployer.rollout.bus import Bus
from deployer.rollout.carry import Carrier, undo_carrier
from deployer.rollout.drain import Drain
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.outcome import Migration, Pause
from deployer.rollout.preflight import examine, gate_logins, tell
from deployer.rollout.routers import bring_routers, deserted_routers, remove_routers
from deployer.rollout.switch import Switch, planned_bus
from deployer.rollout.undo import Hooks, ProjectUndo, read_journals


def migrate(
    deployment: Deployment,
    store: RunStore,
    progress: Progress,
    planned: Callable[[Plan], None],
    *,
    purge_leftovers: bool = False,
    remove_backends: bool = False,
) -> Migration:
    """Migrate; `planned` is called with the plan before anything changes.

    A project whose servers do not answer on the new bus goes back as a whole, and the run stops there: GateFailed,
    DrainTimeout or HostsFailed. Raises PreflightFailed, LeftoverMessages (unless `purge_leftovers`), HostsFailed of
    Locked before anything is touched. `remove_backends` removes routers that left the inventory's group.
    """
    unfinished = next((run for run in store.runs() if run.unfinished), None)
    with Fleet(deployment, progress) as fleet:
        run = store.begin("migrate", deployment.directory)
        lost = fleet.take(run.run)
        if unfinished is not None:
            raise UnfinishedRun(unfinished.run)
        found = examine(fleet, store, lost)
        tell(found.findings, progress)
        plan = found.must_hold()
        planned(plan)
        rollout = _Rollout(fleet, store, run, progress, purge=purge_leftovers)
        done = rollout.carry_out(plan) if plan.changed else Migration(plan)
        if remove_backends:
            remove_routers(fleet, rollout.carrier, deserted_routers(fleet))
        return done


class _Rollout:
    def __init__(self, fleet: Fleet, store: RunStore, run: Run, progress: Progress, *, purge: bool) -> None:
        self._fleet, self._store, self._run, self._progress = fleet, store, run, progress
        self.carrier = Carrier(fleet, store, run)
        self._drain = Drain(fleet, progress, purge=purge)
        self._switch = Switch(fleet, self.carrier, self._drain)
        self._bus = Bus(fleet)
        self._pauses: list[Pause] = []

    def carry_out(self, plan: Plan) -> Migration:
        changed = [one.project for one in plan.projects if one.changed]
        self._drain.refuse_leftovers((project, planned_bus(plan.deployment, project)) for project in changed)
        self._record(plan)
        try:
            checks = self._stages(plan)
        except (Interrupted, KeyboardInterrupt) as error:
            self._store.end(self._run, "interrupted", str(error))
            raise Interrupted(self._where()) from error
        except UndoFailed as error:
            self._store.end(self._run, "split", str(error))
            raise
        except BaseException as error:
            self._store.end(self._run, "failed", str(error) or type(error).__name__)
            raise
        self._store.end(self._run, "done")
        return Migration(plan, self._run, self._pauses, checks)

    def _stages(self, plan: Plan) -> list[Check]:
        bring_brokers(self._fleet, self.carrier)
        bring_routers(self._fleet, self.carrier)
        self.carrier.carry(plan.staging)
        changed = [project for project in plan.projects if project.changed]
        if changed:
            gate_logins(self._fleet)
        for project in changed:
            self._carry_project(project)
        self._fleet.observe()
        expected = {one.project.name: one.servers for one in plan.projects}
        checks = self._bus.verify(expected, self._run.units, plan.deployment.timeouts.gate)
        self._bus.must_hold("verify", checks)
        return checks

    def _carry_project(self, plan: ProjectPlan) -> None:
        name = plan.project.name
        self._run.projects.append(name)
        self._store.save(self._run)
        self._progress.event("", f"{name}: switching: callers stop, its bus becomes idle, servers move, callers start")
        try:
            pause = self._switch.carry(plan)
        except BaseException as error:
            self._undo(plan, error)
            raise
        self._pauses.append(pause)
        self._progress.event("", str(pause))

    def _undo(self, plan: ProjectPlan, cause: BaseException) -> None:
        """Put the whole project back on its old bus; work in flight on the new one has no time to end."""
        project = plan.project
        try:
            self._progress.event("", f"{cause}\n{project.name}: undoing what this run changed")
            try:
                self._go_back(project)
            except (Interrupted, KeyboardInterrupt):
                # Whoever stops a run wants it over, not his services stopped.
                self._progress.event("", f"{project.name}: going back all the same; once more leaves it half way")
                self._go_back(project)
        except BaseException as error:  # noqa: BLE001 - whatever it was, the project is split
            raise UndoFailed(project.name, cause, error) from cause
        self._run.projects.remove(project.name)

    def _go_back(self, project: ProjectDeployment) -> None:
        hosts = [host.name for host in project.hosts]
        # A host that is gone must not keep the others, whose services stand still, from going back.
        errors = ask_each(hosts, self._take_again)[1]
        taken = [host for host in hosts if host not in errors]
        journals, more = ask_each(taken, lambda names: read_journals(self._fleet, names, self._run.run))
        carrier = undo_carrier(self._fleet, self._store, self._run)
        undo = ProjectUndo(self._fleet, carrier, self._run.run, project, journals, errors=errors | more)
        try:
            undo.carry_out(Hooks(answered=lambda: await_baseline(self._fleet, self._run, project)))
        finally:
            if undo.killed:
                lost = f"had to be killed, with what they were executing: {', '.join(undo.killed)}"
                self._progress.event("", f"{project.name}: {lost}")

    def _take_again(self, hosts: list[str]) -> None:
        """Take hosts whose session may be lost; their agent finishes the step in hand first."""
        self._fleet.lock(self._run.run, hosts, patience=self._fleet.deployment.timeouts.step)

    def _where(self) -> str:
        """Say where an interrupted run stands."""
        if not self._run.projects:
            return "No service was left changed. Run migrate again to go on"
        stand = ", ".join(self._run.projects)
        return f"Migrated and proven: {stand}; nothing else was left changed. Run migrate again to go on, or roll back"

    def _record(self, plan: Plan) -> None:
        run, facts = self._run, self._fleet.facts
        run.hosts = list(self._fleet.deployment.hosts)
        for project in plan.projects:
            run.options[project.project.name] = changed_options(project)
            for host, edit in ((host, edit) for host, own in project.edits.items() for edit in own):
                identity = {**edit.fact.identity(), "project": project.project.name}
                run.files.setdefault(host, {})[edit.path] = identity
            for one in project.project.hosts if project.changed else ():
                run.units.setdefault(one.name, {}).update(unit_states(project.project, facts[one.name]))
        run.baseline = ask_before(self._fleet, plan)
        self._store.save(run)

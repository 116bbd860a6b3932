"""Bring the cloud to what its inventory describes: brokers first, then project by project, each proven first."""

from __future__ import annotations

from collections.abc import Callable

from deployer.errors import Interrupted, UndoFailed, UnfinishedRun
from deployer.ini import IniFile
from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check, witnesses
from deployer.plan.expected import unit_states
from deployer.plan.planner import Plan, make_plan
from deployer.plan.projects import ProjectPlan
from deployer.rollout.backend import bring_brokers
from deployer.rollout.bus import Bus, Question
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Migration
from deployer.rollout.undo import read_journals, undo_project

BASELINE_TIMEOUT = 8.0
"""Seconds that a server has to answer on the bus it is on before anything changes."""


def migrate(deployment: Deployment, store: RunStore, progress: Progress, planned: Callable[[Plan], None]) -> Migration:
    """Migrate; `planned` is called with the plan before anything changes.

    A project whose servers do not answer on the new bus goes back as a whole, and the run stops there: GateFailed or
    HostsFailed. Raises ConfigurationError, HostsFailed of Unreachable or Locked before anything is touched.
    """
    unfinished = next((run for run in store.runs() if run.unfinished), None)
    with Fleet(deployment, progress) as fleet:
        run = store.begin("migrate", deployment.directory)
        fleet.lock(run.run)
        if unfinished is not None:
            raise UnfinishedRun(unfinished.run)
        plan = make_plan(deployment, fleet.observe())
        planned(plan)
        if not plan.changed:
            return Migration(plan)
        return _Rollout(fleet, store, run, progress).carry_out(plan)


class _Rollout:
    def __init__(self, fleet: Fleet, store: RunStore, run: Run, progress: Progress) -> None:
        self._fleet, self._store, self._run, self._progress = fleet, store, run, progress
        self._carrier = Carrier(fleet, store, run)
        self._bus = Bus(fleet)

    def carry_out(self, plan: Plan) -> Migration:
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
        return Migration(plan, self._run, checks)

    def _stages(self, plan: Plan) -> list[Check]:
        bring_brokers(self._fleet, self._carrier)
        for project in plan.projects:
            if project.changed:
                self._carry_project(project)
        self._fleet.observe()
        expected = {one.project.name: one.servers for one in plan.projects}
        checks = self._bus.verify(expected, self._run.units, plan.deployment.timeouts.gate)
        self._bus.must_hold("verify", checks)
        return checks

    def _carry_project(self, plan: ProjectPlan) -> None:
        self._run.projects.append(plan.project.name)
        self._store.save(self._run)
        timeouts = self._fleet.deployment.timeouts
        try:
            self._carrier.carry(plan.write_wave())
            for wave in plan.restart_waves(timeouts.step):
                self._carrier.carry(wave)
                for host in wave.intents:
                    self._progress.event(host, f"waiting for {plan.project.name} to answer on the bus")
                    self._bus.gate(plan, host, timeouts.gate)
            self._bus.gate_others(plan.project, plan.restarts, plan.servers, timeouts.gate)
        except BaseException as error:
            self._undo(plan, error)
            raise

    def _undo(self, plan: ProjectPlan, cause: BaseException) -> None:
        timeouts = self._fleet.deployment.timeouts
        try:
            self._progress.event("", f"{cause}\n{plan.project.name}: undoing what this run changed")
            self._fleet.lock(self._run.run, plan.edits, patience=timeouts.step)
            journals = read_journals(self._fleet, plan.edits, self._run.run)
            undo_project(self._fleet, self._run.run, plan.project, journals)
        except BaseException as error:  # noqa: BLE001 - whatever it was, the project is split
            raise UndoFailed(plan.project.name, cause, error) from cause
        self._run.projects.remove(plan.project.name)

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
            for host, edit in project.edits.items():
                run.files.setdefault(host, {})[edit.path] = edit.fact.identity()
                run.units.setdefault(host, {}).update(unit_states(project.project, facts[host]))
        run.baseline = self._baseline(plan)
        self._store.save(run)

    def _baseline(self, plan: Plan) -> list[dict[str, object]]:
        """Ask every expected server on the bus it is on now: what answers today must answer after a rollback."""
        questions: list[Question] = []
        for project in plan.projects:
            facts = [self._fleet.facts[host.name] for host in project.project.hosts]
            asking = [one for one in witnesses(project.project, facts) if self._has_bus(project, one.host)]
            if asking and project.changed:
                questions.append((project.project, asking[0], project.servers))
        checks = self._bus.ask(questions, BASELINE_TIMEOUT, notify=False, planned=False)
        answered = {(check.project, check.target) for check in checks if check.ok}
        return [
            {**server.record(), "answered": (server.project, server.address) in answered}
            for project in plan.projects
            for server in project.servers
        ]

    def _has_bus(self, project: ProjectPlan, host: str) -> bool:
        path = project.project.project.files[0]
        content = self._fleet.facts[host].files[path].content
        return content is not None and IniFile.parse(content.reveal(), path).get("DEFAULT", "transport_url") is not None

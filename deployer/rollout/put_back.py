"""Put a project back, in the middle of its own run, on all its hosts at once: one that failed, or was interrupted."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import Interrupted, UndoFailed
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import ProjectDeployment
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import RunInterrupted
from deployer.rollout import record
from deployer.rollout.baseline import await_baseline
from deployer.rollout.carry import undo_carrier
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.undo import Hooks, ProjectUndo, read_journals


@dataclass(frozen=True)
class PutBack:
    """The way back of the projects of one run, while it goes on."""

    fleet: Fleet
    store: RunStore
    run: Run
    progress: Progress

    def put_back(self, project: ProjectDeployment, cause: BaseException) -> None:
        """Put the whole project back on its old bus; work in flight on the new one has no time to end.

        Whoever stops a run wants it over, not his services stopped: only who asks twice is obeyed before it is done.
        Raises UndoFailed: the project stands between old and new then.
        """
        if _is_twice(cause):
            raise UndoFailed(project.name, cause, cause) from cause
        try:
            self.progress.event("", f"{cause}\n{project.name}: undoing what this run changed")
            self._go_back_all_the_same(project, asked=_is_interrupt(cause))
        except BaseException as error:  # noqa: BLE001 - whatever it was, the project is split
            raise UndoFailed(project.name, cause, error) from cause
        for names in (self.run.projects, self.run.confirmed):
            names[:] = [name for name in names if name != project.name]
        self.fleet.tally.went_back(f"project:{project.name}")

    def _go_back_all_the_same(self, project: ProjectDeployment, *, asked: bool) -> None:
        """Put the project back, also when the operator asks to stop meanwhile, unless he had `asked` before."""
        try:
            self._go_back(project)
        except (Interrupted, KeyboardInterrupt) as error:
            if asked or _is_twice(error):
                raise
            self.progress.event("", f"{project.name}: going back all the same; once more leaves it half way")
            self._go_back(project)

    def _go_back(self, project: ProjectDeployment) -> None:
        hosts = [host.name for host in project.hosts]
        # A host that is gone must not keep the others, whose services stand still, from going back.
        errors = ask_each(hosts, self._take_again)[1]
        taken = [host for host in hosts if host not in errors]
        record.copy_journals(self.fleet, self.store, self.run, taken)
        journals, more = ask_each(taken, lambda names: read_journals(self.fleet, names, self.run.run))
        carrier = undo_carrier(self.fleet, self.store, self.run)
        undo = ProjectUndo(self.fleet, carrier, self.run.run, project, journals, errors=errors | more)
        try:
            undo.carry_out(Hooks(answered=lambda: await_baseline(self.fleet, self.run, project, undo.there)))
        finally:
            if undo.killed:
                lost = f"had to be killed, with what they were executing: {', '.join(undo.killed)}"
                self.progress.event("", f"{project.name}: {lost}")

    def _take_again(self, hosts: list[str]) -> None:
        """Take hosts whose session may be lost; their agent finishes the step in hand first."""
        self.fleet.lock(self.run.run, hosts, patience=self.fleet.deployment.timeouts.step)


def _is_interrupt(error: BaseException) -> bool:
    return isinstance(error, (Interrupted, KeyboardInterrupt))


def _is_twice(error: BaseException) -> bool:
    return isinstance(error, RunInterrupted) and error.twice

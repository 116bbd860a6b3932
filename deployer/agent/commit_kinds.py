"""The step kinds that begin and confirm a project's commit on this host, and the undo: nothing is pending any more."""

from __future__ import annotations

from deployer.agent import guard_unit, pending
from deployer.agent.deeds import Deed, Undo
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.journal import Journal, state_directory
from deployer.agent.pending import Pending
from deployer.agent.types import Prepare, Prepared, Step, StepOutcome


def _begin(step: Step) -> Prepared:
    state = state_directory()
    now = pending.read(state)
    if now is not None and now.run != step.run:
        if (state / "runs" / now.run).is_dir():
            names = ", ".join(now.scopes)
            raise RefusedError(f"run {now.run} left {names} unconfirmed on this host", "Roll that run back first")
        now = None  # nobody can undo what no journal tells of

    def act() -> StepOutcome:
        seconds = float(step.args["seconds"])
        deadline = pending.uptime() + seconds
        guard_unit.install(state, step.args["units"])
        guard_unit.arm(state, seconds)
        pending.save(state, (now or Pending.of(step.run)).begun(step.scope, deadline))
        return StepOutcome(changed=True)

    return Prepared(step.scope, act)


def _confirm(step: Step) -> Prepared:
    def act() -> StepOutcome:
        now = pending.read(state_directory())
        if now is None or now.run != step.run or step.scope not in now.scopes or step.scope in now.problem:
            problem = f"this host has put {step.scope} back by itself: it was cut off for too long"
            raise StepError(problem, f"See journalctl -t {guard_unit.LOG_NAME} there, then run again")
        _drop(now, step.scope)
        return StepOutcome(changed=True)

    return Prepared(step.scope, act)


def _drop(now: Pending, scope: str) -> None:
    rest = now.without(scope)
    pending.save(state_directory(), rest)
    if not rest.scopes:
        guard_unit.disarm()


def _forget(deed: Deed, journal: Journal, _force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    """Have nothing of the scope pending any more: all else of it is back."""
    try:
        now = pending.read(state_directory())
    except RefusedError:
        # Whatever it said is of no use to anybody; the run is being undone.
        pending.remove(state_directory())
        return StepOutcome(changed=True)
    if now is None or now.run != journal.run or deed.scope not in now.scopes:
        return StepOutcome(changed=False)
    _drop(now, deed.scope)
    return StepOutcome(changed=True)


KINDS: dict[str, Prepare] = {"commit.begin": _begin, "commit.confirm": _confirm}
UNDO: dict[str, Undo] = {"commit.begin": _forget}

"""Send steps to a host's agent: what every task that changes a host does in the end."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from nornir.core.task import Result, Task

from deployer.plan.steps import Intent, Step
from tasks.session import ask

LOCK_DEADLINE = 30.0
STEP_DEADLINE = 120.0


def lock_host(task: Task, run: str) -> Result:
    """Take the host for this run until its session ends; raises Locked when another run has it."""
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    holder = {"run": run, "who": f"{getpass.getuser()}@{socket.gethostname()}", "when": when}
    ask(task, "lock", holder, LOCK_DEADLINE)
    return Result(host=task.host, result="locked")


def apply_steps(task: Task, run: str, steps: Mapping[str, Sequence[Step]], deadline: float = STEP_DEADLINE) -> Result:
    """Carry out the steps meant for this host, in order; stops at the first that fails (StepFailed, StalePlan).

    `deadline` is for all of them together, in seconds. Result.changed says whether any step changed the host; its
    `run` and `outcomes` attributes are what `undo_steps` needs.
    """
    own = steps.get(task.host.name, ())
    answer = ask(task, "apply", {"run": run, "steps": [step.wire() for step in own]}, deadline)
    changed = {outcome["id"] for outcome in answer["results"] if outcome["changed"]}
    lines = [f"{'changed' if step.id in changed else 'ok':7} {step.reason}" for step in own]
    return Result(host=task.host, result="\n".join(lines), changed=bool(changed), outcomes=answer["results"], run=run)


def apply_own(task: Task, intents: Sequence[Intent], deadline: float = STEP_DEADLINE) -> Result:
    """Carry out intents from a script of one's own, as a journaled run of their own, under the host's lock."""
    run = f"script-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    lock_host(task, run)
    steps = [Step.of(intent, place, "script") for place, intent in enumerate(intents, 1)]
    return apply_steps(task, run, {task.host.name: steps}, deadline)


def undo_steps(
    task: Task, run: str, steps: Mapping[str, Sequence[str]], *, force: bool = False, deadline: float = STEP_DEADLINE
) -> Result:
    """Undo steps of a run by id, newest first; raises StalePlan for a file changed since (unless `force`)."""
    own = list(steps.get(task.host.name, ()))
    answer = ask(task, "undo", {"run": run, "steps": own, "force": force}, deadline)
    changed = [outcome["id"] for outcome in answer["results"] if outcome["changed"]]
    return Result(host=task.host, result=f"undone {len(changed)} of {len(own)} steps", changed=bool(changed))


def read_history(task: Task, run: str | None = None) -> Result:
    """Read the host's own journal: all runs, or one; the Result's `runs` attribute holds the entries."""
    answer = ask(task, "history", {"run": run}, LOCK_DEADLINE)
    return Result(host=task.host, result=f"{len(answer['runs'])} runs", runs=answer["runs"])

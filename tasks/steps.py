"""Send steps to a host's agent: what every task that changes a host does in the end."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from nornir.core.task import Result, Task

from deployer.plan.steps import Intent, Step
from tasks.session import Keep, ask

LOCK_DEADLINE = 30.0
STEP_DEADLINE = 120.0

Merged = Mapping[str, Mapping[str, str]]
"""By the id of a step that wrote a file: `content_b64` that the file is to get, and its `sha256` now."""


def lock_host(task: Task, run: str) -> Result:
    """Take the host for this run until its session ends; raises Locked when another run has it."""
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    holder = {"run": run, "who": f"{getpass.getuser()}@{socket.gethostname()}", "when": when}
    ask(task, "lock", holder, LOCK_DEADLINE)
    return Result(host=task.host, result="locked")


def apply_steps(
    task: Task,
    run: str,
    steps: Mapping[str, Sequence[Step]],
    deadline: float = STEP_DEADLINE,
    record: Mapping[str, Any] | None = None,
    keep: Keep | None = None,
) -> Result:
    """Carry out the steps meant for this host, in order; stops at the first that fails (StepFailed, StalePlan).

    `deadline` is for all of them together, in seconds; `record` is the run's document, which the host keeps from then
    on; `keep` takes in each line that it journals. Result.changed says whether any step changed the host; its `run` and
    `outcomes` attributes are what `undo_steps` needs.
    """
    own = steps.get(task.host.name, ())
    args = {"run": run, "steps": [step.wire() for step in own], "record": record}
    answer = ask(task, "apply", args, deadline, keep)
    changed = {outcome["id"] for outcome in answer["results"] if outcome["changed"]}
    lines = [f"{'changed' if step.id in changed else 'ok':7} {step.reason}" for step in own]
    return Result(host=task.host, result="\n".join(lines), changed=bool(changed), outcomes=answer["results"], run=run)


def apply_own(task: Task, intents: Sequence[Intent], deadline: float = STEP_DEADLINE) -> Result:
    """Carry out intents from a script of one's own, as a journaled run of their own, under the host's lock."""
    run = f"script-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    lock_host(task, run)
    steps = [Step.of(intent, place, "script") for place, intent in enumerate(intents, 1)]
    return apply_steps(task, run, {task.host.name: steps}, deadline)


def undo_steps(  # noqa: PLR0913 - what an undo may be told, each by its name
    task: Task,
    run: str,
    steps: Mapping[str, Sequence[str]],
    *,
    force: bool = False,
    deadline: float = STEP_DEADLINE,
    record: Mapping[str, Any] | None = None,
    merged: Mapping[str, Merged] | None = None,
    keep: Keep | None = None,
) -> Result:
    """Undo steps of a run by id, newest first; raises StalePlan for a file changed since (unless `force`).

    `merged` has, by host, what is put in place of a before-image; `record` and `keep` as for `apply_steps`.
    """
    own = list(steps.get(task.host.name, ()))
    instead = dict((merged or {}).get(task.host.name, {}))
    args = {"run": run, "steps": own, "force": force, "record": record, "merged": instead}
    answer = ask(task, "undo", args, deadline, keep)
    changed = [outcome["id"] for outcome in answer["results"] if outcome["changed"]]
    return Result(host=task.host, result=f"undone {len(changed)} of {len(own)} steps", changed=bool(changed))

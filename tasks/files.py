"""Write a file on a host: atomically, journaled, mode and owner kept."""

from __future__ import annotations

from nornir.core.task import Result, Task

from deployer.model.secrets import Blob
from deployer.plan.diff import unified_diff
from deployer.plan.observed import HostFacts
from deployer.plan.query import query
from deployer.plan.steps import Intent
from tasks.session import ask
from tasks.steps import STEP_DEADLINE, apply_own


def write_file(
    task: Task,
    path: str,
    content: Blob,
    mode: int | None = None,
    user: str | None = None,
    group: str | None = None,
) -> Result:
    """Write `content` to `path`; `mode`, `user` and `group` are kept where None. Result.diff is masked.

    `content` is a Blob because Nornir logs every argument with repr(), and InitNornir logs to nornir.log by default.
    Raises StalePlan when the file changes in between, StepFailed when it cannot be written. Obeys Nornir's dry run.
    """
    answer = ask(task, "facts", query([path], []), STEP_DEADLINE)
    fact = HostFacts.of(task.host.name, answer, {}).files[path]
    diff = unified_diff(path, fact.content.reveal() if fact.content else None, content.reveal())
    if task.is_dry_run():
        wanted = ((mode, fact.mode), (user, fact.user), (group, fact.group))
        changed = bool(diff) or any(new not in (None, now) for new, now in wanted)
        return Result(host=task.host, result=f"would write {path}", diff=diff, changed=changed)
    args = {"path": path, "content_b64": content.base64(), "mode": mode, "user": user, "group": group}
    done = apply_own(task, [Intent("file.write", args, f"write {path}", fact.preimage())])
    done.diff = diff
    return done

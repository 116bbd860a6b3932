"""A host's own journal: read it, keep the run's record with it, and put it back where its disk was lost."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from nornir.core.task import Result, Task

from tasks.session import ask, tell
from tasks.steps import LOCK_DEADLINE

JOURNAL_DEADLINE = 120.0
"""Seconds for what carries whole files, or every run of a host."""


def read_history(task: Task, run: str | None = None) -> Result:
    """Read the host's own journal: all runs, or one; needs no lock.

    The Result's `runs` attribute holds the entries (docs/architecture.md), `hold` and `pending` what stands there.
    """
    answer = ask(task, "history", {"run": run}, JOURNAL_DEADLINE)
    runs, hold, pending = answer["runs"], answer.get("hold"), answer.get("pending")
    return Result(host=task.host, result=f"{len(runs)} runs", runs=runs, hold=hold, pending=pending)


def write_record(task: Task, run: str, record: Mapping[str, Any], prune: Mapping[str, int] | None = None) -> Result:
    """Let the host keep the run's record as it is now, and forget runs beyond `prune` ({"runs", "days"}).

    Why it forgets none, though it should, goes to each Progress processor. Needs the host's lock.
    """
    answer = ask(task, "record", {"run": run, "record": record, "prune": prune}, LOCK_DEADLINE)
    if answer["problem"]:
        tell(task, f"keeps its old runs: {answer['problem']}")
    return Result(host=task.host, result=f"recorded; forgot {len(answer['pruned'])} runs", pruned=answer["pruned"])


def read_blobs(task: Task, run: str, sha256s: Mapping[str, list[str]]) -> Result:
    """Read what the host keeps of files under these hashes, by host; the Result's `blobs` maps sha256 to bytes."""
    asked = sha256s[task.host.name]
    answer = ask(task, "blobs", {"run": run, "sha256s": asked}, JOURNAL_DEADLINE)["blobs_b64"]
    blobs = {sha256: base64.b64decode(content) for sha256, content in answer.items()}
    return Result(host=task.host, result=f"read {len(blobs)} contents", blobs=blobs)


def restore_journal(task: Task, run: str, journals: Mapping[str, Mapping[str, Any]], *, replace: bool) -> Result:
    """Put a run's journal back on the host; `journals` has by host `record`, `lines` with their sums, `blobs_b64`.

    With `replace` also where a damaged one stands. Needs the host's lock.
    """
    ask(task, "restore", {"run": run, "replace": replace, **journals[task.host.name]}, JOURNAL_DEADLINE)
    return Result(host=task.host, result="restored", changed=True)

"""The hold that a rollback leaves on a host: read it, put it there, lift it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nornir.core.task import Result, Task

from tasks.session import ask
from tasks.steps import LOCK_DEADLINE

_NO_RUN = "none"
"""A run that no host has: its history is short, and tells of the hold all the same."""


def read_hold(task: Task) -> Result:
    """Ask the host what holds it; the Result's `hold` attribute is `{"run", "who", "when", "projects"}` or None."""
    hold = ask(task, "history", {"run": _NO_RUN}, LOCK_DEADLINE).get("hold")
    return Result(host=task.host, result="held" if hold else "not held", hold=hold)


def set_hold(task: Task, hold: Mapping[str, Any] | None) -> Result:
    """Put this hold on the host, or lift what is there (None); the Result's `hold` attribute is what stood before.

    Needs the host's lock.
    """
    before = ask(task, "hold", {"hold": None if hold is None else dict(hold)}, LOCK_DEADLINE)["hold"]
    return Result(host=task.host, result="held" if hold else "released", changed=before != hold, hold=before)

"""Switch systemd units on a host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from nornir.core.task import Result, Task

from deployer.plan.steps import Intent
from tasks.steps import STEP_DEADLINE, apply_own


def switch_units(
    task: Task,
    units: Sequence[str],
    verb: Literal["start", "stop", "restart", "enable"],
    timeout: float = STEP_DEADLINE,
) -> Result:
    """Start, stop, restart or enable units in the order given; `timeout` in seconds for each. Raises StepFailed."""
    intents = [Intent(f"unit.{verb}", {"unit": unit, "timeout": timeout}, f"{verb} {unit}") for unit in units]
    return apply_own(task, intents, timeout * max(1, len(units)))

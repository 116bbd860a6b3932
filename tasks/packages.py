"""Install packages on a host."""

from __future__ import annotations

from collections.abc import Sequence

from nornir.core.task import Result, Task

from deployer.plan.steps import Intent
from tasks.steps import apply_own

INSTALL_DEADLINE = 900.0


def install_packages(task: Task, names: Sequence[str], manager: str = "apt") -> Result:
    """Install `names` with `manager` (apt or dnf); changed is False when all are there. Raises StepFailed."""
    args = {"names": list(names), "manager": manager}
    return apply_own(task, [Intent("package.install", args, f"install {' '.join(names)}")], INSTALL_DEADLINE)

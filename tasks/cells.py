"""Read nova's cell mappings out of its API database, in a nova service's own interpreter. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nornir.core.task import Result, Task

from tasks.session import ask

CELLS_DEADLINE = 90.0


def read_cells(task: Task, queries: Mapping[str, Mapping[str, Any]]) -> Result:
    """Ask the nova host for the cell mappings; `queries` maps host to the `cells` arguments (docs/architecture.md).

    The Result's `cells` attribute holds the agent's answer, which has URLs with passwords, base64.
    """
    cells = ask(task, "cells", dict(queries[task.host.name]), CELLS_DEADLINE)["cells"]
    return Result(host=task.host, result=f"{len(cells)} cell mappings", cells=cells)

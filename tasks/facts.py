"""Read what a host is. Changes nothing on it."""

from __future__ import annotations

from typing import Any

from nornir.core.task import Result, Task

from tasks.session import ask

FACTS_DEADLINE = 90.0


def read_facts(task: Task, queries: dict[str, dict[str, Any]]) -> Result:
    """Ask the host's agent for its facts; `queries` maps host to the `facts` arguments (docs/architecture.md).

    The answer, which holds whole configuration files, is the Result's `facts` attribute and never its printed result.
    """
    facts = ask(task, "facts", queries[task.host.name], FACTS_DEADLINE)
    counted = ", ".join(f"{len(facts[kind])} {kind}" for kind in ("files", "units"))
    return Result(host=task.host, result=f"read {counted}", facts=facts)

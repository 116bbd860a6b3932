"""Read the RPC queues of a vhost on a broker. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nornir.core.task import Result, Task

from tasks.session import ask

QUEUES_DEADLINE = 90.0


def read_queues(task: Task, queries: Mapping[str, Mapping[str, Any]]) -> Result:
    """Ask the broker's host for the queues of some topics; the Result's `reads` attribute is the agent's answer.

    `queries` maps host to the `queues` arguments (docs/architecture.md).
    """
    reads = ask(task, "queues", dict(queries[task.host.name]), QUEUES_DEADLINE)["reads"]
    return Result(host=task.host, result=f"{len(reads[-1])} queues, read {len(reads)} times", reads=reads)

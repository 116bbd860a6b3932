"""Ask RPC servers for an answer, and send a notification round, from a service's own interpreter on its own host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nornir.core.task import Result, Task

from tasks.session import ask

PROBE_GRACE = 20.0


def probe_bus(task: Task, requests: Mapping[str, Mapping[str, Any]]) -> Result:
    """Run the probe asked of this host; the Result's `answer` attribute is the probe's own answer."""
    own = requests[task.host.name]
    answer = ask(task, "probe", dict(own), float(own["timeout"]) + PROBE_GRACE)["answer"]
    answered = [target for target in answer["targets"] if target["answered"]]
    return Result(host=task.host, result=f"{len(answered)} of {len(answer['targets'])} answered", answer=answer)

"""Look at a host before a run, and ask whether its services are let in. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nornir.core.task import Result, Task

from deployer.plan.examined import refusals
from tasks.facts import FACTS_DEADLINE
from tasks.session import ask

WAITS = 3
"""How often one login may wait for its timeout: to connect, to be let in, and at its vhost."""


@dataclass(frozen=True)
class PreflightQuery:
    """Arguments of the agent's `preflight` or `logins`, passwords among them: Nornir logs arguments by repr."""

    args: Mapping[str, Any] = field(repr=False)

    @property
    def deadline(self) -> float:
        """Return the seconds until the answer must be here."""
        router = self.args.get("router") or {"timeout": 0}
        return FACTS_DEADLINE + WAITS * float(self.args["timeout"]) + float(router["timeout"])


def examine_host(task: Task, requests: Mapping[str, PreflightQuery]) -> Result:
    """Ask the host's agent for all that a preflight needs of it, in one exchange.

    The Result's `answer` attribute is the agent's, which holds whole configuration files; `now` is when it came, in
    seconds since the epoch by this machine's clock.
    """
    own = requests[task.host.name]
    answer = ask(task, "preflight", dict(own.args), own.deadline)
    now = time.time()
    return Result(host=task.host, result=f"{len(answer['logins'])} logins tried", answer=answer, now=now)


def log_in(task: Task, requests: Mapping[str, PreflightQuery]) -> Result:
    """Let the host's agent log in as its services do; the Result's `logins` maps each id to None or a Refusal."""
    own = requests[task.host.name]
    found = refusals(ask(task, "logins", dict(own.args), own.deadline)["logins"])
    let_in = sum(refusal is None for refusal in found.values())
    return Result(host=task.host, result=f"{let_in} of {len(found)} logins let in", logins=found)

"""Ask a host's router what it is and who is attached, and a mesh whether fanout arrives exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nornir.core.task import Result, Task

from deployer.plan.router_facts import Fanout, RouterFacts
from tasks.session import ask

ROUTER_GRACE = 20.0  # seconds for the agent to end what ran into its own timeout


@dataclass(frozen=True)
class RouterQuery:
    """Arguments of the agent's `router` or `routers`, passwords among them: Nornir logs a task's arguments by repr."""

    args: Mapping[str, Any] = field(repr=False)

    @property
    def deadline(self) -> float:
        """Return the seconds until the answer must be here."""
        return float(self.args["timeout"]) + ROUTER_GRACE


def read_router(task: Task, requests: Mapping[str, RouterQuery]) -> Result:
    """Ask the host's agent about its own router; the Result's `router` attribute is a RouterFacts."""
    own = requests[task.host.name]
    facts = RouterFacts.of(ask(task, "router", dict(own.args), own.deadline))
    seen = f"{len(facts.view.connections)} connections" if facts.view else facts.problem or "not asked for a view"
    return Result(host=task.host, result=seen, router=facts)


def check_fanout(task: Task, request: RouterQuery) -> Result:
    """Send fanouts through all routers from this router host; the Result's `fanout` attribute is a Fanout."""
    fanout = Fanout.of(ask(task, "routers", dict(request.args), request.deadline))
    wrong = fanout.problem or "; ".join(map(str, fanout.wrong))
    result = "fanout arrives exactly once" if fanout.exactly_once else f"fanout does not arrive exactly once: {wrong}"
    return Result(host=task.host, result=result, fanout=fanout)

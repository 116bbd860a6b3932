"""The one way from a Nornir task to its host's agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nornir.core.task import Task

from deployer.errors import Interrupted, Unreachable
from deployer.nornir_plugins import register
from deployer.nornir_plugins.connection import CONNECTION_NAME
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import abandoned
from deployer.nornir_plugins.session import AgentSession

Keep = Callable[[str, Mapping[str, Any]], None]
"""Takes in one line of a host's journal as the host wrote it, `sum` included; called with the host's name first."""


def agent(task: Task) -> AgentSession:
    """Return the session with the agent of `task.host`, opened when there is none alive.

    Raises Unreachable, HostKeyRejected with the inventory name; Interrupted when the runner gave the host up.
    """
    register()
    name = task.host.name
    existing = task.host.connections.get(CONNECTION_NAME)
    if existing is not None and not existing.connection.alive:
        task.host.close_connection(CONNECTION_NAME)
    _still_wanted(task)
    try:
        session: AgentSession = task.host.get_connection(CONNECTION_NAME, task.nornir.config)
    except Unreachable as error:
        raise type(error)(name, f"{error.problem} ({error.host})", error.remedy) from None
    _still_wanted(task)
    session.host = name
    return session


def ask(task: Task, op: str, args: dict[str, Any], deadline: float, keep: Keep | None = None) -> dict[str, Any]:
    """Return the agent's answer, `deadline` in seconds; step events go to each Progress processor.

    What the host journals meanwhile goes to `keep`. Raises what `agent` and AgentSession.request raise.
    """

    def forward(event: dict[str, Any]) -> None:
        if "journal" in event:
            if keep is not None:
                keep(task.host.name, event["journal"])
            return
        for processor in task.processors:
            if isinstance(processor, Progress):
                processor.step(task.host.name, event)

    return agent(task).request(op, args, deadline=deadline, on_event=forward)


def tell(task: Task, text: str) -> None:
    """Give each Progress processor a line about the host."""
    for processor in task.processors:
        if isinstance(processor, Progress):
            processor.event(task.host.name, text)


def _still_wanted(task: Task) -> None:
    """Keep a host that was given up from being connected to, or asked, afterwards."""
    if abandoned():
        task.host.close_connections()
        raise Interrupted(f"{task.host.name} was given up")

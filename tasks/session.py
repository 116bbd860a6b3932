"""The one way from a Nornir task to its host's agent."""

from __future__ import annotations

from typing import Any

from nornir.core.task import Task

from deployer.errors import Interrupted, Unreachable
from deployer.nornir_plugins import register
from deployer.nornir_plugins.connection import CONNECTION_NAME
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import abandoned
from deployer.nornir_plugins.session import AgentSession


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


def ask(task: Task, op: str, args: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Return the agent's answer, `deadline` in seconds; step events go to each Progress processor.

    Raises what `agent` and AgentSession.request raise.
    """

    def forward(event: dict[str, Any]) -> None:
        for processor in task.processors:
            if isinstance(processor, Progress):
                processor.step(task.host.name, event)

    return agent(task).request(op, args, deadline=deadline, on_event=forward)


def _still_wanted(task: Task) -> None:
    """Keep a host that was given up from being connected to, or asked, afterwards."""
    if abandoned():
        task.host.close_connections()
        raise Interrupted(f"{task.host.name} was given up")

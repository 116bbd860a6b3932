"""What an agent is asked about routers, and how it logs in to the one beside it."""

from __future__ import annotations

from typing import Any

from deployer.model.deployment import Deployment, Host
from deployer.plan.router_config import loopback
from deployer.plan.router_member import passwords

FANOUT_ROUNDS = 5
"""Messages from each router to each: where copies differ in number, a few show it."""


def login(deployment: Deployment, host: Host) -> dict[str, Any]:
    """Return how the agent on `host` logs in to that host's own router as its administrator; a secret is in it."""
    return {"host": loopback(host.address), "port": deployment.router.port, **_administrator(deployment)}


def router_args(deployment: Deployment, host: Host, *, view: bool = True) -> dict[str, Any]:
    """Return the agent's `router` arguments for a router's host: users, logins and, unless told not to, its view."""
    return {
        **login(deployment, host),
        "logins": user_logins(deployment),
        "package": deployment.router.package,
        "ask": "view" if view else None,
        "timeout": deployment.timeouts.step,
    }


def fanout_args(deployment: Deployment, timeout: float) -> dict[str, Any]:
    """Return the agent's `routers` arguments: does fanout arrive exactly once between all routers. `timeout` in s."""
    return {
        "routers": [[host.address, deployment.router.port] for host in deployment.qdrouterd],
        **_administrator(deployment),
        "rounds": FANOUT_ROUNDS,
        "timeout": timeout,
    }


def user_logins(deployment: Deployment) -> dict[str, str]:
    """Return the password of every user in the clear, for the agent to try."""
    return {user: password.reveal() for user, password in passwords(deployment).items()}


def _administrator(deployment: Deployment) -> dict[str, Any]:
    settings = deployment.router
    return {
        "tls_ca": settings.tls.ca if settings.tls else None,
        "realm": settings.realm,
        "user": settings.user,
        "password": deployment.router_password.reveal(),
    }

"""Builders of what a preflight read of a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from deployer.model.deployment import Deployment
from deployer.plan.examined import Examination, Refusal, Service
from deployer.plan.logins import logins
from deployer.plan.observed import HostFacts
from tests.unit.plan.cloud import broker

PLENTY = 10_000_000_000


def examined(
    facts: HostFacts,
    *,
    ahead: float = 0.0,
    disk: Mapping[str, int] | None = None,
    addresses: Iterable[str] = (),
    services: Iterable[str] = (),
    logins: Mapping[str, Refusal | None] | None = None,
) -> Examination:
    """A host with nothing to find fault with, but for what is said."""
    return Examination(
        facts=facts,
        python="3.11.2",
        ahead=ahead,
        disk=disk or {"/var/lib/hybridmsg": PLENTY, "/etc": PLENTY},
        addresses=("127.0.0.1", "::1", *addresses),
        services=tuple(Service(name) for name in services),
        logins=logins or {},
    )


def let_in(cloud: Deployment, facts: HostFacts, refused: Mapping[str, Refusal] | None = None) -> Examination:
    """A service host that is let in everywhere, but where `refused`, by user and peer like nova@10.0.0.11, says why."""
    own = logins(cloud, cloud.hosts[facts.host])
    answers = {login.id: (refused or {}).get(f"{login.user}@{login.host}") for login in own}
    return examined(facts, logins=answers)


def connected(cloud: Deployment, *peers: tuple[str, str, str]) -> Examination:
    """The broker msg1, to which these hosts are connected, each a host, its user and vhost."""
    facts = broker(cloud)
    seen = [
        {"vhost": vhost, "user": user, "peer_host": peer, "peer_port": 40000 + port, "name": str(port)}
        for port, (peer, user, vhost) in enumerate(peers)
    ]
    return examined(replace(facts, rabbitmq={**(facts.rabbitmq or {}), "connections": seen}))

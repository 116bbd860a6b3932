"""Bring the brokers to what the plan wants: what can be known now first, then read again and plan anew."""

from __future__ import annotations

from deployer.errors import HostError
from deployer.plan.cluster import plan_cluster
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet

ROUNDS = 4
"""Install; cookie, join and definitions; one more for what a restart showed; the last finds nothing to do."""


def bring_brokers(fleet: Fleet, carrier: Carrier) -> None:
    """Carry the broker plan out until it is empty.

    Raises HostsFailed when a step fails, HostError when the plan does not become empty, ConfigurationError when a
    broker turns out to hold what is not ours.
    """
    deployment = fleet.deployment
    for _ in range(ROUNDS):
        waves = plan_cluster(deployment, fleet.facts).waves
        if not waves:
            return
        for wave in waves:
            carrier.carry(wave)
        fleet.observe(deployment.rabbitmq)
    problem = f"the brokers are still not as planned after {ROUNDS} rounds"
    raise HostError(deployment.rabbitmq[0].name, problem, "See what `hybridmsg plan` still wants of them")

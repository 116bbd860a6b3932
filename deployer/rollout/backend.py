"""Bring the brokers to what the plan wants: what can be known now first, then read again and plan anew."""

from __future__ import annotations

from deployer.plan.cluster import ClusterPlan, plan_cluster
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet

ROUNDS = 3
"""Install; then cookie, join and definitions; a third only where a restart showed something new."""


def bring_brokers(fleet: Fleet, carrier: Carrier) -> bool:
    """Carry the broker plan out until it is empty and return whether anything was done.

    Raises HostsFailed when a step fails, ConfigurationError when a broker turns out to hold what is not ours.
    """
    deployment = fleet.deployment
    for done in range(ROUNDS):
        plan = _plan(fleet)
        if not plan.changed:
            return done > 0
        for wave in plan.waves:
            carrier.carry(wave)
        fleet.observe(deployment.rabbitmq)
    return True


def _plan(fleet: Fleet) -> ClusterPlan:
    return plan_cluster(fleet.deployment, fleet.facts, fleet.deployment.erlang_cookie)

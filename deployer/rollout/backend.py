"""Bring the brokers to what the plan wants: what can be known now first, then read again and plan anew."""

from __future__ import annotations

from deployer.errors import HostError
from deployer.model.deployment import RabbitCluster
from deployer.plan.cluster import plan_cluster
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet

ROUNDS = 4
"""Install; cookie, join and definitions; one more for what a restart showed; the last finds nothing to do."""


def bring_brokers(fleet: Fleet, carrier: Carrier) -> None:
    """Carry the plan of each RabbitMQ cluster out until it is empty, one cluster after the other.

    Raises HostsFailed when a step fails, HostError when a plan does not become empty, ConfigurationError when a
    broker turns out to hold what is not ours.
    """
    for cluster in fleet.deployment.clusters:
        _bring(fleet, carrier, cluster)


def _bring(fleet: Fleet, carrier: Carrier, cluster: RabbitCluster) -> None:
    for _ in range(ROUNDS):
        waves = plan_cluster(fleet.deployment, cluster, fleet.facts).waves
        if not waves:
            return
        for wave in waves:
            carrier.carry(wave)
        fleet.observe(cluster.hosts)
    problem = f"the brokers of {cluster.name} are still not as planned after {ROUNDS} rounds"
    raise HostError(cluster.hosts[0].name, problem, "See what `hybridmsg plan` still wants of them")

"""Take away the backends that a run made, once its projects are back: routers, and what is on brokers."""

from __future__ import annotations

from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.plan.broker_removal import Removal, broker_removal
from deployer.rollout.carry import Carrier
from deployer.rollout.fleet import Fleet
from deployer.rollout.routers import deserted_routers, remove_routers
from deployer.rollout.undo import read_journals


def remove_backends(fleet: Fleet, store: RunStore, carrier: Carrier, run: Run) -> list[str]:
    """Remove all routers, and from brokers what the run made there; return a line for all that stays.

    Raises HostsFailed while a service is attached to a router, before anything is removed.
    """
    remove_routers(fleet, carrier, [*(host.name for host in fleet.deployment.qdrouterd), *deserted_routers(fleet)])
    # Services that do not run at the moment are not seen on a broker, and need what is there all the same.
    standing = [one.run for one in store.of(fleet.deployment).runs() if one.can_be_undone and one.projects]
    if standing:
        return [f"what was made on brokers stays: projects of run {', '.join(standing)} may need it"]
    told: list[str] = []
    for removal in _removals(fleet, run):
        for wave in removal.waves:
            carrier.carry(wave)
        told += removal.told
    return told


def _removals(fleet: Fleet, run: Run) -> list[Removal]:
    hosts = {host.name: host for cluster in fleet.deployment.clusters for host in cluster.hosts}
    journals = read_journals(fleet, hosts, run.run)
    facts = fleet.observe(hosts.values())
    return [broker_removal(fleet.deployment, cluster, facts, journals) for cluster in fleet.deployment.clusters]

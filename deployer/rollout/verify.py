"""Prove over the wire that every RPC server answers, that notifications arrive, and that listeners listen."""

from __future__ import annotations

from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.expected import RpcServer, merge
from deployer.plan.projects import expected_servers
from deployer.rollout.bus import Bus
from deployer.rollout.fleet import Fleet


def verify(deployment: Deployment, store: RunStore, progress: Progress) -> list[Check]:
    """Return every check, those that do not hold included.

    What must answer: the catalogue's servers of the units that are active, and whatever the last run expected; so a
    server that has died since is missed, and never taken for one that was not there.
    """
    with Fleet(deployment, progress) as fleet:
        facts = fleet.observe()
        last = next((run for run in store.runs() if run.state == "done"), None)
        recorded = _recorded(last, deployment)
        expected = {
            project.name: merge(expected_servers(deployment, project, facts), recorded.get(project.name, []))
            for project in deployment.projects
        }
        return Bus(fleet).verify(expected, last.units if last else {}, deployment.timeouts.gate)


def _recorded(last: Run | None, deployment: Deployment) -> dict[str, list[RpcServer]]:
    """Return what the last run expected, by project; a host that left the inventory took its servers along."""
    found: dict[str, list[RpcServer]] = {}
    for entry in last.baseline if last else []:
        server = RpcServer.of(entry)
        if not server.host or server.host in deployment.hosts:
            found.setdefault(server.project, []).append(server)
    return found

"""Prove over the wire that every RPC server answers, that notifications arrive, and that listeners listen."""

from __future__ import annotations

from collections.abc import Iterable

from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.checks import Check
from deployer.plan.expected import RpcServer, merge
from deployer.plan.projects import expected_servers
from deployer.rollout.bus import Bus, UnitStates
from deployer.rollout.fleet import Fleet
from deployer.rollout.preflight import leave_out_waived


def verify(deployment: Deployment, store: RunStore, progress: Progress) -> list[Check]:
    """Return every check, those that do not hold included.

    Service hosts that are out of reach and waived are left out. Raises HostsFailed.
    """
    with Fleet(deployment, progress) as fleet:
        leave_out_waived(fleet, fleet.examine(deployment.hosts, logging_in=False)[1], progress)
        return ask_all(fleet, store.of(deployment).runs())


def ask_all(fleet: Fleet, runs: Iterable[Run]) -> list[Check]:
    """Ask whoever must answer, by `fleet.facts` and the recorded runs, newest first; return every check.

    What must answer: the catalogue's servers of the units that are active, and whatever the last run of a project
    expected; so a server that has died since is missed, and never taken for one that was not there.
    """
    deployment = fleet.deployment
    recorded, units = _recorded([run for run in runs if run.state == "done"], deployment)
    expected = {
        project.name: merge(expected_servers(deployment, project, fleet.facts), recorded.get(project.name, []))
        for project in deployment.projects
    }
    return Bus(fleet).verify(expected, units, deployment.timeouts.gate)


def _recorded(runs: Iterable[Run], deployment: Deployment) -> tuple[dict[str, list[RpcServer]], UnitStates]:
    """Return what each project's newest run expected, and each unit's state as last recorded; newest run first.

    A later run with a smaller inventory says nothing of the others. A host that left the inventory took its servers
    along.
    """
    servers: dict[str, list[RpcServer]] = {}
    units: dict[str, dict[str, dict[str, str]]] = {}
    for run in runs:
        told = [RpcServer.of(entry) for entry in run.baseline]
        for name in {server.project for server in told} - servers.keys():
            servers[name] = [
                one for one in told if one.project == name and (not one.host or one.host in deployment.hosts)
            ]
        for host, states in run.units.items():
            units[host] = {**states, **units.get(host, {})}
    return servers, units

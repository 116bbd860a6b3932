"""Move one project to its planned bus in the order of `drain`: nothing is in flight towards a server that stops.

A graceful stop loses what was delivered and not begun, on both drivers (a rolling restart fails calls): so callers stop
first, the bus becomes idle, all servers move at once and answer, and callers come back last.
"""

from __future__ import annotations

import hashlib
import time

from deployer.errors import HostsFailed, HybridmsgError, StalePlan
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.transports import resolve
from deployer.plan.bus_today import RpcBus
from deployer.plan.expected import active_units
from deployer.plan.projects import ProjectPlan, reads
from deployer.plan.steps import Wave
from deployer.rollout.bus import Bus
from deployer.rollout.carry import Carrier, killed_units
from deployer.rollout.drain import Drain
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Pause


class Switch:
    """Carries the switches of one run."""

    def __init__(self, fleet: Fleet, carrier: Carrier, drain: Drain) -> None:
        self._fleet, self._carrier, self._drain = fleet, carrier, drain
        self._bus = Bus(fleet)
        self._written: dict[tuple[str, str], str] = {}

    def carry(self, plan: ProjectPlan) -> Pause:
        """Move the project and return how long its callers were stopped.

        Raises StalePlan, DrainTimeout, HostsFailed, GateFailed; what was done until then is the journal's to undo.
        """
        self._refuse_stale(plan)
        # Who can ask, and on whose behalf: while the project is stopped its hosts do not tell.
        ran = [self._fleet.facts[host.name] for host in plan.project.hosts]
        gate = self._fleet.deployment.timeouts.gate
        # A wave of its own: a host that cannot put itself back must not cost any service a stop.
        self._carry(plan.begin_wave())
        began = time.monotonic()
        killed = self._carry(plan.stop_callers_wave())
        stopped, servers = time.monotonic(), plan.stop_servers_wave()
        if servers.intents:
            self._drain.wait(plan.project)
        draining = time.monotonic() - stopped
        killed += self._carry(servers)
        purges = self._drain.enter(plan.project, planned_bus(self._fleet.deployment, plan.project))
        self._carry(*purges, plan.write_wave(), plan.cells_wave())
        self._remember_written(plan)
        self._carry(plan.start_servers_wave())
        served = time.monotonic()
        self._bus.gate_servers(plan, ran, gate)
        self._carry(plan.start_callers_wave())
        pause = time.monotonic() - began
        # A service may answer and die of its new bus seconds later: what is confirmed would not go back any more.
        time.sleep(max(0.0, served + self._fleet.deployment.timeouts.settle - time.monotonic()))
        self._bus.gate_callers(plan, ran, gate)
        self._carry(plan.confirm_wave())
        return Pause(plan.project.name, pause, draining, tuple(killed))

    def _carry(self, *waves: Wave) -> list[str]:
        """Carry the waves out and return the units that had to be killed."""
        return [unit for wave in waves for unit in killed_units(self._carrier.carry(wave))]

    def _refuse_stale(self, plan: ProjectPlan) -> None:
        """Raise HostsFailed of StalePlan, before callers stop, when the project is not what the plan was made from.

        A unit that was started meanwhile would stay on the old bus.
        """
        facts = self._fleet.observe(plan.project.hosts)
        stale: dict[str, HybridmsgError] = {}
        for host, planned in plan.units.items():
            started = {unit.name for unit in active_units(plan.project, facts[host])} - {*planned}
            if started:
                problem = f"{', '.join(sorted(started))} was started since the plan was made"
                stale[host] = StalePlan(host, problem, "Run again")
        for host, files in plan.reads.items():
            if reads(plan.project, facts[host]) != files:
                problem = f"units of {plan.project.name} read other files than when the plan was made"
                stale[host] = StalePlan(host, problem, "Run again")
        for host, path, sha256 in ((host, *one) for host, own in plan.contents.items() for one in own.items()):
            if facts[host].files[path].sha256 != self._written.get((host, path), sha256):
                stale[host] = StalePlan(host, f"{path} changed since the plan was made", "Run again")
        if stale:
            raise HostsFailed(stale)

    def _remember_written(self, plan: ProjectPlan) -> None:
        """Remember what the files are now: other projects may read them too, and this run is nobody's surprise."""
        for host, edit in ((host, edit) for host, own in plan.edits.items() for edit in own):
            self._written[host, edit.path] = hashlib.sha256(edit.after.reveal()).hexdigest()


def planned_bus(deployment: Deployment, project: ProjectDeployment) -> RpcBus | None:
    """Return the bus that the project's RPC is to be on."""
    return RpcBus.of(resolve(deployment, project).rpc.url())

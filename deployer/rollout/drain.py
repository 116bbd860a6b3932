"""Wait until nothing is in flight on the bus that a project is about to leave, and nothing waits on the one it enters."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deployer.errors import DrainTimeout, HostsFailed, HybridmsgError, LeftoverMessages
from deployer.model.deployment import ProjectDeployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.bus_today import RpcBus, rpc_bus, rpc_topics
from deployer.plan.drain import leftovers, rabbit_left, router_left
from deployer.plan.service_file import read_service_file
from deployer.plan.steps import Intent, Wave
from deployer.rollout.fleet import Fleet
from tasks.queues import read_queues

READS = 3
"""Reads of RabbitMQ's queues that must all find nothing: one alone may fall between two messages."""
PAUSE_MS = 200
AGAIN = 0.5
"""Seconds between two looks at a bus that is not idle."""


class Drain:
    """Looks at the buses of a run's projects, from the hosts that serve them."""

    def __init__(self, fleet: Fleet, progress: Progress, *, purge: bool) -> None:
        self._fleet, self._progress, self._purge = fleet, progress, purge

    def wait(self, project: ProjectDeployment) -> None:
        """Wait until the bus that the project's files name is idle; raises DrainTimeout after `timeouts.drain`.

        Its callers have stopped. A bus that no host of the inventory serves cannot be looked at, which is told.
        """
        limit = self._fleet.deployment.timeouts.drain
        began = time.monotonic()
        for bus in sorted(self.buses(project), key=str):
            left = max(limit - (time.monotonic() - began), 0)
            found: list[str] = Retrying(
                retry=retry_if_result(bool),
                stop=stop_after_delay(left),
                wait=wait_fixed(AGAIN),
                retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
            )(self._in_flight, project, bus)
            if found:
                raise DrainTimeout(project.name, limit, found)

    def buses(self, project: ProjectDeployment) -> set[RpcBus]:
        """Return the buses that the project's files, as last read, name for RPC."""
        files = [read_service_file(self._fleet.facts[host.name], project) for host in project.hosts]
        return {bus for bus in map(rpc_bus, files) if bus is not None}

    def _in_flight(self, project: ProjectDeployment, bus: RpcBus) -> list[str]:
        serving = [host.name for host in bus.served_by(self._fleet.deployment)]
        if not serving:
            where = ", ".join(bus.hosts)
            self._progress.event("", f"{project.name}: {where} is no host of the inventory; its queues are not waited for")
            return []
        if bus.driver == "rabbit":
            return rabbit_left(self._read_queues(project, bus.vhost, serving))
        views = [facts.view for facts in self._fleet.ask_routers(serving).values() if facts.view]
        if not views:
            return [f"no router tells who is attached: {', '.join(serving)}"]
        user = f"{project.user}@{self._fleet.deployment.router.realm}"
        return router_left(views, user, rpc_topics(project))

    def enter(self, project: ProjectDeployment, bus: RpcBus | None) -> tuple[Wave, ...]:
        """Return what empties the RPC queues that the project's servers would find on coming back to `bus`, if any do.

        Raises LeftoverMessages when there is something to purge and purging was not asked for.
        """
        facts = self._fleet.facts
        names = [host.name for host in self._fleet.deployment.rabbitmq]
        brokers = [name for name in names if (facts[name].rabbitmq or {}).get("running")]
        if bus is None or not bus.is_brokers(self._fleet.deployment) or self.buses(project) == {bus} or not brokers:
            return ()
        held = leftovers(self._read_queues(project, bus.vhost, brokers)[-1])
        if not held:
            return ()
        if not self._purge:
            raise LeftoverMessages(project.name, {f"{bus.vhost}/{queue}": number for queue, number in held.items()})
        args = {"vhost": bus.vhost, "queues": list(held)}
        intent = Intent("rabbitmq.purge", args, f"purge {', '.join(held)} in vhost {bus.vhost}")
        scope = f"project:{project.name}"
        return (Wave(f"{project.name}: purge what was left behind", scope, {brokers[0]: (intent,)}),)

    def _read_queues(self, project: ProjectDeployment, vhost: str, serving: Iterable[str]) -> list[list[dict[str, object]]]:
        """Ask one broker after the other until one tells; raises HostsFailed when none does."""
        query = {"vhost": vhost, "topics": list(rpc_topics(project)), "reads": READS, "pause_ms": PAUSE_MS}
        errors: dict[str, HybridmsgError] = {}
        for host in serving:
            results, failed = self._fleet.attempt([host], read_queues, queries={host: query})
            if not failed:
                reads: list[list[dict[str, object]]] = results[host].reads  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
                return reads
            errors |= failed
        raise HostsFailed(errors)

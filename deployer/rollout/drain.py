"""Wait until nothing is in flight on the bus that a project leaves, and see that nothing waits on the one it enters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deployer.errors import ConfigurationError, DrainTimeout, HostsFailed, HybridmsgError, LeftoverMessages
from deployer.model.deployment import ProjectDeployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.bus_today import RpcBus, router_user, rpc_bus, rpc_topics
from deployer.plan.drain import leftovers, rabbit_left, router_left
from deployer.plan.effective import Effective, effective_configs
from deployer.plan.query import query
from deployer.plan.router_config import UNIT as ROUTER_UNIT
from deployer.plan.steps import Intent, Wave
from deployer.rollout.fleet import Fleet, ask_each
from tasks.queues import read_queues

Told = TypeVar("Told")

READS = 3
"""Reads of RabbitMQ's queues that must all find nothing: one alone may fall between two messages."""
PAUSE_MS = 200
AGAIN = 0.5
"""Seconds between two looks at a bus that is not idle."""


class Drain:
    """Looks at the buses of a run's projects, from the hosts that serve them."""

    def __init__(self, fleet: Fleet, progress: Progress, *, purge: bool) -> None:
        self._fleet, self._progress, self._purge = fleet, progress, purge
        self._lost: set[str] = set()

    def wait(self, project: ProjectDeployment) -> None:
        """Wait until the bus that the project's files name is idle; raises DrainTimeout after `timeouts.drain`.

        Its callers have stopped. A bus that no host of the inventory serves, or that the files do not name legibly,
        cannot be looked at, which is told.
        """
        limit = self._fleet.deployment.timeouts.drain
        began = time.monotonic()
        buses = self.buses(project)
        if not buses:
            self._progress.event("", f"{project.name}: its files name no bus that can be read; nothing is waited for")
        for bus in sorted(buses, key=str):
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
        """Return the buses that the project's files, as last read, name for RPC; one that cannot be read names none."""
        return set(self._told(project, rpc_bus))

    def _told(self, project: ProjectDeployment, tell: Callable[[Effective], Told | None]) -> Iterator[Told]:
        """Yield what each unit's configuration tells, where it tells anything."""
        for host in project.hosts:
            # A rollback that overwrites a file that cannot be read must get as far.
            with suppress(ConfigurationError):
                for conf in effective_configs(self._fleet.facts[host.name], project).values():
                    told = tell(conf)
                    if told:
                        yield told

    def _in_flight(self, project: ProjectDeployment, bus: RpcBus) -> list[str]:
        serving = [host.name for host in bus.served_by(self._fleet.deployment)]
        if not serving:
            told = f"{', '.join(bus.hosts)} is no host of the inventory; its queues are not waited for"
            self._progress.event("", f"{project.name}: {told}")
            return []
        if bus.driver == "rabbit":
            return rabbit_left(self._read(project, bus.vhost, serving))
        routers, errors = ask_each(serving, self._fleet.ask_routers)
        if not routers:
            raise HostsFailed(errors)
        for name in errors.keys() - self._lost:
            self._lost.add(name)
            self._progress.event("", f"{project.name}: {errors[name]}; who is attached to its router is not known")
        views = [facts.view for facts in routers.values() if facts.view]
        silent = self._running(name for name, facts in routers.items() if not facts.view)
        if not views and not silent:
            self._progress.event("", f"{project.name}: no router of its bus runs; nothing is waited for")
        told = f"its router does not tell who is attached. If it hangs: systemctl stop {ROUTER_UNIT}"
        # As the files have it: the inventory may name another user, or realm, since.
        users = set(self._told(project, router_user))
        return [f"{name}: {told}" for name in silent] + router_left(views, users, rpc_topics(project))

    def _running(self, routers: Iterable[str]) -> list[str]:
        """Return the hosts whose router runs; through one that does not nothing is in flight."""
        facts = self._fleet.ask_facts({name: query([], [ROUTER_UNIT]) for name in routers})
        return [name for name, fact in facts.items() if fact.units[ROUTER_UNIT].running]

    def refuse_leftovers(self, entering: Iterable[tuple[ProjectDeployment, RpcBus | None]]) -> None:
        """Raise LeftoverMessages with all that these projects would find where they go, unless it is to be purged."""
        found = {project.name: self._held(project, bus) for project, bus in entering} if not self._purge else {}
        queues = {queue: number for held in found.values() for queue, number in held.items()}
        if queues:
            raise LeftoverMessages(", ".join(name for name, held in found.items() if held), queues)

    def enter(self, project: ProjectDeployment, bus: RpcBus | None) -> tuple[Wave, ...]:
        """Return what empties the RPC queues that the project's servers would find on coming back to `bus`, if any do.

        Raises LeftoverMessages when there is something to purge and purging was not asked for.
        """
        self.refuse_leftovers([(project, bus)])
        held = self._held(project, bus) if self._purge and bus is not None else {}
        if not held or bus is None:
            return ()
        queues = [queue.removeprefix(f"{bus.vhost}/") for queue in held]
        intent = Intent(
            "rabbitmq.purge", {"vhost": bus.vhost, "queues": queues}, f"purge {', '.join(queues)} in vhost {bus.vhost}"
        )
        broker = self._brokers(bus)[0]
        title = f"{project.name}: purge what was left behind"
        return (Wave(title, f"project:{project.name}", {broker: (intent,)}),)

    def _brokers(self, bus: RpcBus) -> list[str]:
        """Return the hosts of the bus's cluster whose broker runs: any of them knows all its queues."""
        cluster = bus.cluster(self._fleet.deployment)
        known = [self._fleet.facts.get(host.name) for host in cluster.hosts] if cluster else []
        return [facts.host for facts in known if facts and (facts.rabbitmq or {}).get("running")]

    def _held(self, project: ProjectDeployment, bus: RpcBus | None) -> dict[str, int]:
        """Return the number of messages, by vhost/queue, that wait for the project's servers on `bus`."""
        brokers = self._brokers(bus) if bus is not None else []
        if bus is None or not brokers:
            return {}
        today = self.buses(project)
        # Who stays keeps what waits for a server that is away, such as a compute host in repair.
        if today and all(one.is_same(bus) for one in today):
            return {}
        held = leftovers(self._read(project, bus.vhost, brokers)[-1])
        return {f"{bus.vhost}/{queue}": number for queue, number in held.items()}

    def _read(self, project: ProjectDeployment, vhost: str, serving: Iterable[str]) -> list[list[dict[str, object]]]:
        """Ask one broker after the other until one tells; raises HostsFailed when none does."""
        asked = {"vhost": vhost, "topics": list(rpc_topics(project)), "reads": READS, "pause_ms": PAUSE_MS}
        errors: dict[str, HybridmsgError] = {}
        for host in serving:
            results, failed = self._fleet.attempt([host], read_queues, queries={host: asked})
            if not failed:
                reads: list[list[dict[str, object]]] = results[host].reads  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
                return reads
            errors |= failed
        raise HostsFailed(errors)

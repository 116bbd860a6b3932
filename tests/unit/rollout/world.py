"""A cloud in memory: what its hosts are, what happens on them, and who is on which of its buses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.model.deployment import Deployment
from deployer.plan.bus_today import RpcBus
from tests.unit.rollout import buses
from tests.unit.rollout.fake_host import FakeHost, FakeUnit, failed_to_start


@dataclass
class World:
    """All hosts, and what shall go wrong on them. They share one clock, in seconds, that moves on with every act."""

    hosts: dict[str, FakeHost]
    deployment: Deployment
    cells: dict[str, tuple[str, str]] = field(default_factory=dict)
    """nova's cell mappings, by uuid: name and transport URL."""
    clock: float = 1_800_000_000.0
    queues: dict[str, dict[str, int]] = field(default_factory=dict)
    """Messages by vhost and queue; each look at a queue that is consumed finds one less, unless it is stuck."""
    stuck: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    """Servers, like `conductor@ctl1`, that never answer."""
    deaf: set[tuple[str, str]] = field(default_factory=set)
    """Servers that do not answer on one bus, by the first host in its URL."""
    dying: set[tuple[str, str]] = field(default_factory=set)
    """Hosts' units that are dead after a start."""
    broken: set[tuple[str, str]] = field(default_factory=set)
    """Hosts' units that systemd cannot start."""
    stubborn: set[tuple[str, str]] = field(default_factory=set)
    """Hosts' units that end only when they are killed."""
    lingering: dict[tuple[str, str], int] = field(default_factory=dict)
    """Looks at the routers for which a unit that was stopped is attached still."""
    connections: list[dict[str, Any]] = field(default_factory=list)
    """Who is connected to the brokers, as the agent tells it."""
    walls: set[tuple[str, str]] = field(default_factory=set)
    """Hosts, and addresses of brokers and routers that they cannot reach."""
    skew: dict[str, float] = field(default_factory=dict)
    """Seconds by which hosts' clocks are ahead."""
    acts: list[tuple[str, str, str]] = field(default_factory=list)
    """What was done (start, stop, write, remove, cell, purge, ask), to what, on which host, in order."""

    def __post_init__(self) -> None:
        self.asked: FakeHost | None = None

    @property
    def host(self) -> FakeHost:
        """The host that is asked right now: requests come one after the other."""
        assert self.asked is not None
        return self.asked

    def now(self) -> float:
        self.clock += 1
        return self.clock

    def act(self, verb: str, what: str, host: str) -> None:
        self.acts.append((verb, what, host))

    def write(self, host: str, path: str, content: bytes) -> None:
        self.hosts[host].files[path], self.hosts[host].ctimes[path] = content, self.now()
        self.act("write", path, host)

    def switch(self, host: str, unit: str, verb: str) -> None:
        """Do as `systemctl VERB UNIT`."""
        one = self.hosts[host].units[unit]
        if verb in ("enable", "disable"):
            one.enabled = f"{verb}d"
        if verb in ("stop", "restart"):
            one.active = "inactive"
            self.act("stop", unit, host)
        if verb in ("start", "restart"):
            self._start(host, unit, one)

    def _start(self, host: str, unit: str, one: FakeUnit) -> None:
        self.act("start", unit, host)
        if (host, unit) in self.broken:
            one.active = "failed"
            raise failed_to_start(unit)
        one.started, one.read = self.now(), dict(self.hosts[host].files)
        one.active = "failed" if (host, unit) in self.dying else "active"

    def killed(self, host: str, unit: str) -> bool:
        return (host, unit) in self.stubborn

    def purge(self, vhost: str, queues: Iterable[str]) -> None:
        for queue in queues:
            self.queues[vhost][queue] = 0
            self.act("purge", queue, self.host.name)

    # Who is on which bus.

    def services(self) -> list[buses.Service]:
        return list(buses.services(self.hosts.values()))

    def consumers(self, broker: str) -> list[dict[str, str]]:
        clusters = (one for one in self.deployment.clusters if broker in [host.name for host in one.hosts])
        return [seen for one in clusters for seen in buses.consumed(self.services(), one)]

    def rabbitmq(self, host: FakeHost) -> dict[str, Any] | None:
        if host.rabbitmq is None:
            return None
        consumers = [*host.rabbitmq.get("consumers", []), *self.consumers(host.name)]
        return {**host.rabbitmq, "consumers": consumers, "connections": list(self.connections)}

    def state(self, host: FakeHost) -> dict[str, Any]:
        """What a host is beside its facts, as the agent tells it."""
        running = [f"{name}.service" for name, unit in host.units.items() if unit.active == "active"]
        return {
            "time": self.clock + self.skew.get(host.name, 0),
            "disk": {"/var/lib/hybridmsg": 10**10, "/etc": 10**10},
            "addresses": ["127.0.0.1", host.address],
            "services": [{"unit": unit, "argv": []} for unit in running],
        }

    def refusal(self, host: FakeHost, login: Mapping[str, Any]) -> dict[str, Any] | None:
        """Why a broker or router does not let a host's service in, None when it does."""
        peer = next(one for one in self.hosts.values() if one.address == login["host"])
        running = peer.address in self.routers() if login["kind"] == "amqp" else (peer.rabbitmq or {}).get("running")
        if not running or (host.name, peer.address) in self.walls:
            return {"reached": False, "problem": f"{peer.address} does not answer"}
        held = (peer.rabbitmq or {}).get("definitions") or {}
        granted = {f"{item['user']}@{item['vhost']}" for item in held.get("permissions", [])}
        wanted, users = (login["realm"], peer.users) if login["kind"] == "amqp" else (login["vhost"], granted)
        user = f"{login['user']}@{wanted}"
        return None if user in users else {"reached": True, "problem": f"{user} is refused"}

    def routers(self) -> dict[str, FakeHost]:
        """The routers that run, by address."""
        found = [host for host in self.hosts.values() if "qdrouterd" in host.units]
        return {host.address: host for host in found if host.units["qdrouterd"].active == "active"}

    def router_of(self, one: buses.Service) -> FakeHost | None:
        routers = self.routers()
        alive = [routers[host] for host in one.bus.hosts if host in routers] if one.bus else []
        return alive[0] if one.bus and one.bus.driver == "amqp" and alive else None

    def still_attached(self, router: FakeHost) -> list[buses.Service]:
        found = []
        for (host, unit), looks in self.lingering.items():
            one = self.hosts[host].units[unit]
            gone = buses.service(host, unit, one)
            if one.active != "active" and looks and self.router_of(gone) is router:
                self.lingering[host, unit] = looks - 1
                found.append(gone)
        return found

    def with_port(self, bus: RpcBus) -> list[str]:
        port = self.deployment.router.port if bus.driver == "amqp" else self.deployment.broker.port
        return [f"{host}:{port}" for host in bus.hosts]

    def answer(self, target: Mapping[str, Any], answering: set[str], bus: RpcBus | None) -> dict[str, Any]:
        address = f"{target['topic']}@{target['server']}"
        self.act("ask", address, self.host.name)
        # What answers on a host that is none of ours is not known here.
        there = address in answering or target["server"] not in self.hosts
        heard = there and address not in self.silent and not (bus and (address, bus.hosts[0]) in self.deaf)
        return {**target, "answered": heard, "how": "pong", "error": "" if heard else "no answer"}

"""The buses between the hosts of a World: who is attached where, who answers whom, what waits in queues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from deployer.ini import IniFile
from deployer.model.catalogue import load_catalogue
from deployer.model.deployment import RabbitCluster
from deployer.plan.bus_today import RpcBus, rpc_bus
from deployer.plan.effective import Effective
from deployer.plan.router_config import CONF
from deployer.plan.router_facts import Connection, Link, RouterFacts, RouterView
from tests.unit.plan import mesh
from tests.unit.plan.cloud import file
from tests.unit.rollout.fake_host import FakeHost, FakeUnit


@dataclass(frozen=True)
class Service:
    """A unit that runs, and the bus that it read in its file when it was started."""

    host: str
    unit: str
    project: str
    topics: tuple[str, ...]
    bus: RpcBus | None

    @property
    def servers(self) -> set[str]:
        return {f"{topic}@{self.host}" for topic in self.topics}

    @property
    def queues(self) -> set[str]:
        return {
            name for topic in self.topics for name in (topic, f"{topic}.{self.host}", f"{topic}_fanout_{self.host}")
        }

    def connection(self) -> Connection:
        pid = sum(map(ord, self.unit))
        container = f"openstack.org/om/container/{self.host}/{self.unit}/{pid}/1"
        return Connection(
            container, f"{self.project}@openstack", f"{self.host}:40000", "normal", self.host, self.unit, pid
        )

    def links(self) -> list[Link]:
        start = f"openstack.org/om/rpc/unicast/{self.project}/{self.project}"
        return [Link(self.connection().container, "out", f"{start}/{topic}/{self.host}", 0, 0) for topic in self.topics]


KNOWN = {
    name: (project, unit.topics)
    for project in load_catalogue().values()
    for unit in project.units
    for name in unit.names
}
"""A unit's project and RPC topics, by its name."""


def bus_of(files: Mapping[str, bytes], *paths: str) -> RpcBus | None:
    """The bus that these files name together, the last one first."""
    return _bus(*(files.get(path, b"") for path in paths))


@cache
def _bus(*contents: bytes) -> RpcBus | None:
    return rpc_bus(Effective("", "", [("x.conf", IniFile.parse(content, "x.conf")) for content in contents]))


def services(hosts: Iterable[FakeHost]) -> Iterator[Service]:
    """Every OpenStack unit that runs."""
    for host in hosts:
        for name, unit in host.units.items():
            if name in KNOWN and unit.active == "active":
                yield service(host.name, name, unit)


def service(host: str, name: str, unit: FakeUnit) -> Service:
    project, topics = KNOWN[name]
    return Service(host, name, project.name, topics, bus_of(unit.read, *(unit.reads or project.files[:1])))


def consumed(running: Iterable[Service], cluster: RabbitCluster) -> list[dict[str, str]]:
    """The consumers on one cluster's brokers."""
    addresses = {host.address for host in cluster.hosts}
    return [
        {"vhost": one.bus.vhost, "queue": queue}
        for one in running
        if one.bus is not None and one.bus.driver == "rabbit" and not addresses.isdisjoint(one.bus.hosts)
        for queue in sorted(one.queues)
    ]


def router(
    host: FakeHost, args: Mapping[str, Any], routers: Mapping[str, FakeHost], attached: list[Service]
) -> RouterFacts:
    """What a host tells of its router; `routers` are those that run, by address."""
    unit = host.units.get("qdrouterd", FakeUnit("inactive"))
    runs = unit.active == "active"
    refused = {user: None if runs and f"{user}@{args['realm']}" in host.users else "refused" for user in args["logins"]}
    version = "1.19.0" if "qdrouterd" in host.packages else None
    view = _view(unit.read[CONF], routers, attached) if runs else None
    return RouterFacts(version, tuple(sorted(host.users)), refused, view, "" if view else "connection refused")


def told(router: RouterFacts) -> dict[str, Any]:
    """A router's facts as the agent sends them."""
    raw = asdict(router)
    if router.view is not None:
        entities = [
            {"type": kind, "name": name, "attributes": dict(of)} for (kind, name), of in router.view.entities.items()
        ]
        raw["view"] = {**asdict(replace(router.view, entities={})), "entities": entities}
    return raw


def _view(conf: bytes, routers: Mapping[str, FakeHost], attached: list[Service]) -> RouterView:
    alone = mesh._view(file(CONF, conf))
    connections = tuple(one.connection() for one in attached)
    links = tuple(link for one in attached for link in one.links())
    nodes = tuple(host.name for host in routers.values())
    return replace(alone, nodes=nodes, connections=connections, links=links)

"""Which RPC servers must answer: catalogue times units that were active, never what happens to be attached now."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from deployer.model.deployment import ProjectDeployment
from deployer.plan.effective import Effective
from deployer.plan.observed import HostFacts, UnitFact
from deployer.plan.router_facts import Link
from deployer.plan.rpc_address import RpcAddress, queue_servers


@dataclass(frozen=True, order=True)
class RpcServer:
    """One RPC server of a project: `topic`@`server`. `host` is its inventory name, empty when only seen on the bus."""

    project: str
    topic: str
    server: str
    host: str = ""
    unit: str = ""

    @property
    def address(self) -> str:
        """Return topic@server, as an operator reads it."""
        return f"{self.topic}@{self.server}"

    def record(self) -> dict[str, str]:
        """Return the server as it stands in a run's record."""
        return asdict(self)

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> RpcServer:
        """Read the server back from a record, whatever else stands there."""
        return cls(**{field.name: entry[field.name] for field in fields(cls)})


def active_units(project: ProjectDeployment, facts: HostFacts) -> list[UnitFact]:
    """Return the project's units that run on the host, in the catalogue's restart order."""
    ordered = sorted(project.project.units, key=lambda unit: unit.order)
    found = (facts.first_unit(unit.names) for unit in ordered)
    return [unit for unit in found if unit is not None and unit.running]


def server_units(project: ProjectDeployment, facts: HostFacts) -> frozenset[str]:
    """Return the names of the project's units on the host that answer RPC, running or not."""
    found = (facts.first_unit(unit.names) for unit in project.project.units if unit.role == "server")
    return frozenset(unit.name for unit in found if unit is not None)


def unit_states(project: ProjectDeployment, facts: HostFacts) -> dict[str, dict[str, str]]:
    """Return the active and enabled state of each of the project's units that the host has."""
    found = (facts.first_unit(unit.names) for unit in project.project.units)
    return {unit.name: {"active": unit.active, "enabled": unit.enabled} for unit in found if unit is not None}


def servers_on(project: ProjectDeployment, facts: HostFacts, configs: Mapping[str, Effective]) -> list[RpcServer]:
    """Return the RPC servers that the host's active units make up; `configs` has each unit's configuration.

    The server name is [DEFAULT] host, else the host's own name (Target.server as every catalogued service sets it).
    Units whose servers carry a backend's name (cinder-volume) are known from the bus only.
    """
    servers = []
    for unit in project.project.units:
        fact = facts.first_unit(unit.names)
        if fact is not None and fact.running and unit.role == "server" and unit.server == "host":
            conf = configs.get(fact.name)
            name = (conf.text("DEFAULT", "host") if conf else "") or facts.hostname
            servers += [RpcServer(project.name, topic, name, facts.host, fact.name) for topic in unit.topics]
    return servers


def servers_seen(
    project: ProjectDeployment, vhosts: Container[str], consumers: Iterable[Mapping[str, str]]
) -> list[RpcServer]:
    """Return the RPC servers that RabbitMQ's consumers in the project's `vhosts` show: their queue is TOPIC.SERVER."""
    queues = {consumer["queue"] for consumer in consumers if consumer["vhost"] in vhosts}
    return _named(project, {server for queue in queues for server in queue_servers(queue, _topics(project))})


def servers_attached(project: ProjectDeployment, vhosts: Iterable[str], links: Iterable[Link]) -> list[RpcServer]:
    """Return the RPC servers that subscriptions on the routers show, in the project's `vhosts`."""
    seen = [address for link in links if link.dir == "out" and (address := RpcAddress.parse(link.address))]
    found = [(one.topic, one.server) for one in seen for vhost in vhosts if one.cast == "unicast" and one.is_in(vhost)]
    return _named(project, set(found))


def _topics(project: ProjectDeployment) -> set[str]:
    return {topic for unit in project.project.units for topic in unit.topics}


def _named(project: ProjectDeployment, found: Iterable[tuple[str, str]]) -> list[RpcServer]:
    topics = _topics(project)
    return sorted(RpcServer(project.name, topic, name) for topic, name in found if topic in topics and not _again(name))


def _again(server: str) -> bool:
    """Whether a name is HOST@BACKEND.HOST: the same process once more, on a topic of its backend's.

    cinder/service.py: backend_rpcserver. Only on RabbitMQ does it look like a server of the topic itself.
    """
    host, at, rest = server.partition("@")
    return bool(at) and rest.endswith(f".{host}")


def merge(named: Iterable[RpcServer], seen: Iterable[RpcServer]) -> list[RpcServer]:
    """Join both sources; a server known by its host and unit stands for the same one seen on the bus."""
    servers = {(server.project, server.topic, server.server): server for server in seen}
    servers.update({(server.project, server.topic, server.server): server for server in named})
    return sorted(servers.values())

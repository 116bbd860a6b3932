"""Who is on a bus, or on a host, that the inventory does not know: it would be left behind by a switch. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from deployer.errors import ConfigurationError, Finding
from deployer.model.catalogue import Project
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.transports import resolve
from deployer.plan.bus_today import RpcBus, router_user, rpc_bus
from deployer.plan.effective import Effective, effective_configs
from deployer.plan.examined import Examination, Service
from deployer.plan.router_facts import RouterFacts

Examined = Mapping[str, Examination]
Routers = Mapping[str, RouterFacts]

# Programs of OpenStack by the names of their units (openstack-NAME in RDO), or by where openstack-ansible has them.
_UNIT = re.compile(
    r"(openstack-|octavia-|neutron-|nova-|cinder-|glance-|heat-|keystone-|placement-|ceilometer-|gnocchi-|aodh-|manila-|"
    r"designate-|barbican-|magnum-|trove-|sahara-|mistral-|murano-|masakari-|ironic-|watcher-|zun-|senlin-|vitrage-|"
    r"cloudkitty-|blazar-|freezer-|tacker-|cyborg-|zaqar-|swift-|karbor-|congress-|solum-|adjutant-|panko-|qinling-)"
)
_VENV = re.compile(r"/openstack/venvs/")


@dataclass(frozen=True)
class _Client:
    """Somebody on a bus: an address, the user it logged in as, and where it is for people."""

    address: str
    user: str
    place: str


def routers_left(deployment: Deployment, examined: Examined) -> list[str]:
    """Return the hosts of the routers that a project leaves."""
    buses = [bus for project in deployment.projects for bus in _buses_left(deployment, project, examined)]
    serving = [host.name for bus in buses if bus.driver == "amqp" for host in bus.served_by(deployment)]
    return [name for name in dict.fromkeys(serving) if name in examined]


def rogue_connections(deployment: Deployment, examined: Examined, routers: Routers) -> list[Finding]:
    """Return a finding for each peer on a bus that a project leaves which the run would leave behind there.

    It belongs to no host of the inventory, or to one that is out of reach, and would recreate queues. The bus is looked
    at where the deployment's brokers serve it, or these `routers`, by host.
    """
    known = _addresses(deployment, examined)
    lost = {_plain(one.address): one.name for one in deployment.hosts.values() if one.name not in examined}
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for project in deployment.projects:
        left = _buses_left(deployment, project, examined)
        for client in (*_on_brokers(deployment, left, examined), *_on_routers(project, left, examined, routers)):
            peer = _plain(client.address)
            if peer not in known and not _is_loopback(peer):
                users, projects = found.setdefault((peer, client.place), (set(), set()))
                users.add(client.user)
                projects.add(project.name)
    return [
        _alive(lost[peer], f"{place} as {_names(who)}")
        if peer in lost
        else _rogue(peer, f"{place} as {_names(who)}", _names(leaving))
        for (peer, place), (who, leaving) in sorted(found.items())
    ]


def _rogue(peer: str, where: str, projects: str) -> Finding:
    detail = (
        f"{peer} is connected to {where} and is no host of the inventory: it would stay behind when {projects} leaves"
    )
    remedy = f"Add the host, stop what runs there, or waive {peer} when it is no service of {projects}"
    return Finding("", "stranger", "failed", detail, remedy, waiver=peer)


def _alive(host: str, where: str) -> Finding:
    detail = f"is out of reach, and connected to {where}: its services run, and would stay behind"
    remedy = "Mend the way to it, or stop it. Where it died just now, its broker knows in a minute"
    return Finding(host, "stranger", "failed", detail, remedy)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _buses_left(deployment: Deployment, project: ProjectDeployment, examined: Examined) -> list[RpcBus]:
    """Return the buses that the project's files name today and that are not the planned one."""
    planned = resolve(deployment, project).rpc
    seen = [bus for host in project.hosts if host.name in examined for bus in _buses(examined[host.name], project)]
    return [bus for bus in seen if not bus.is_on(planned)]


def _buses(one: Examination, project: ProjectDeployment) -> list[RpcBus]:
    return [bus for conf in _configs(one, project) if (bus := rpc_bus(conf))]


def _configs(one: Examination, project: ProjectDeployment) -> list[Effective]:
    try:
        return list(effective_configs(one.facts, project).values())
    except ConfigurationError:
        return []  # a file that cannot be read is for the plan to name


def _on_brokers(deployment: Deployment, buses: Iterable[RpcBus], examined: Examined) -> list[_Client]:
    """Return who is on these buses, as far as clusters of the deployment serve them."""
    vhosts: dict[str, set[str]] = {}
    for bus in buses:
        serving = filter(None, map(deployment.cluster_of, bus.served_by(deployment) if bus.driver == "rabbit" else ()))
        for broker in {broker.name for cluster in serving for broker in cluster.hosts}:
            vhosts.setdefault(broker, set()).add(bus.vhost)
    told = ((vhosts[name], examined[name].facts.rabbitmq or {}) for name in vhosts if name in examined)
    seen = [one for own, broker in told for one in broker.get("connections", []) if one["vhost"] in own]
    return [_Client(one["peer_host"], one["user"], f"vhost {one['vhost']}") for one in seen]


def _on_routers(
    project: ProjectDeployment, buses: Collection[RpcBus], examined: Examined, routers: Routers
) -> list[_Client]:
    """Return who is on routers that the project leaves under the name that its files log in with."""
    if not any(bus.driver == "amqp" for bus in buses):
        return []
    files = [conf for host in project.hosts if host.name in examined for conf in _configs(examined[host.name], project)]
    users = {router_user(conf) for conf in files}
    views = {name: router.view for name, router in routers.items()}
    return [
        _Client(one.host.rpartition(":")[0].strip("[]"), one.user, f"router {name}")
        for name, view in views.items()
        for one in (view.connections if view else ())
        if one.user in users and one.role == "normal"
    ]


def _addresses(deployment: Deployment, examined: Examined) -> set[str]:
    """Return all by which the hosts that were looked at are known: a broker may tell names (reverse_dns_lookups)."""
    found: set[str] = set()
    for name, one in examined.items():
        found |= set(map(_plain, (name, deployment.hosts[name].address, one.facts.hostname, *one.addresses)))
    return found


def _plain(host: str) -> str:
    """Return an address in one form: brokers tell ::ffff:10.0.0.1 where they listen on both versions of IP."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower()
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unknown_units(deployment: Deployment, examined: Examined, catalogue: Mapping[str, Project]) -> list[Finding]:
    """Return what each host runs of OpenStack that the run would leave behind.

    A unit that the catalogue does not know is told. One of a project that moves, on a host outside of its group, fails:
    it would stay on the old bus.
    """
    owners = {name: project for project in catalogue.values() for unit in project.units for name in unit.names}
    moving = {
        project.name: {host.name for host in project.hosts}
        for project in deployment.projects
        if project.project.managed and _buses_left(deployment, project, examined)
    }
    found = []
    for host, one in examined.items():
        for service in filter(_is_openstack, one.services):
            owner = owners.get(service.unit.removesuffix(".service"))
            if owner is None:
                found.append(Finding(host, "unknown unit", "told", f"{service.unit} runs; {_UNKNOWN}"))
            elif host not in moving.get(owner.name, {host}):
                found.append(_misplaced(host, service.unit, owner.name))
    return found


_UNKNOWN = "the catalogue does not know it, and it is left on the bus that it is on"


def _misplaced(host: str, unit: str, project: str) -> Finding:
    detail = f"{unit} runs, and the host is not in the group {project}: it would stay on the old bus"
    remedy = f"Put the host into the group {project}, or stop the unit"
    return Finding(host, "stranger", "failed", detail, remedy, waiver=f"{host}:{unit}")


def _is_openstack(service: Service) -> bool:
    return bool(_UNIT.match(service.unit)) or any(_VENV.match(path) for path in service.paths)

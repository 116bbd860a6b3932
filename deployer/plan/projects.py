"""The plan of each project: files to edit, units that stop and start, servers that must answer afterwards. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transports import Transport, resolve
from deployer.plan import notify_bus
from deployer.plan.bus_today import RpcBus, cut_off, rpc_bus
from deployer.plan.cell_moves import cell_obstacles, plan_cells
from deployer.plan.clients import client_intents, client_obstacles
from deployer.plan.expected import (
    RpcServer,
    active_units,
    merge,
    server_units,
    servers_attached,
    servers_on,
    servers_seen,
)
from deployer.plan.observed import HostFacts
from deployer.plan.service_file import FileEdit, edit_service_file, read_service_file
from deployer.plan.steps import Intent, Wave

Facts = Mapping[str, HostFacts]


@dataclass(frozen=True)
class ProjectPlan:
    """What one project needs, by host, and the servers that must answer afterwards.

    `rpc` is the planned bus, `today` the one that each host's file names. `units` has the active units of every host
    that stops for the switch, in the catalogue's order; `answering` those among them that are RPC servers.
    `clients` are staged installations, `lines` tell people of the cells. `timeout` (s): one unit to stop or start.
    """

    project: ProjectDeployment
    rpc: Transport
    today: dict[str, RpcBus | None]
    edits: dict[str, FileEdit]
    clients: dict[str, tuple[Intent, ...]]
    cells: dict[str, tuple[Intent, ...]]
    lines: tuple[str, ...]
    units: dict[str, tuple[str, ...]]
    answering: dict[str, frozenset[str]]
    servers: tuple[RpcServer, ...]
    timeout: float

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.edits or self.clients or self.cells)

    @property
    def moves(self) -> bool:
        """Whether RPC goes to another bus than the one any of the hosts is on today, or to its first."""
        return any(bus is None or not bus.is_on(self.rpc) for bus in self.today.values())

    @property
    def scope(self) -> str:
        """Return the scope that this project's steps bear in the journal."""
        return f"project:{self.project.name}"

    def servers_of(self, host: str) -> tuple[str, ...]:
        """Return the host's units that stop last and start first: those that answer RPC."""
        return tuple(unit for unit in self.units.get(host, ()) if unit in self.answering[host])

    def callers_of(self, host: str) -> tuple[str, ...]:
        """Return the host's units that stop first and start last: all that do not answer RPC."""
        return tuple(unit for unit in self.units.get(host, ()) if unit not in self.answering[host])

    def stop_callers_wave(self) -> Wave:
        """Return the stop of every caller, on all hosts at once."""
        return self._wave("stop callers", {host: self._each("stop", self.callers_of(host)) for host in self.units})

    def stop_servers_wave(self) -> Wave:
        """Return the stop of every RPC server, on all hosts at once."""
        return self._wave("stop servers", {host: self._each("stop", self.servers_of(host)) for host in self.units})

    def write_wave(self) -> Wave:
        """Return the write of every changed file of the project, on all its hosts at once."""
        return self._wave("write configuration", {host: (edit.intent(),) for host, edit in self.edits.items()})

    def cells_wave(self) -> Wave:
        """Return the move of the cell mappings, on one host."""
        return self._wave("move cell mappings", self.cells)

    def start_servers_wave(self) -> Wave:
        """Return the start of every RPC server that ran, on all hosts at once."""
        return self._wave("start servers", {host: self._each("start", self.servers_of(host)) for host in self.units})

    def start_callers_wave(self) -> Wave:
        """Return the start of every caller that ran, on all hosts at once."""
        return self._wave("start callers", {host: self._each("start", self.callers_of(host)) for host in self.units})

    def switch_waves(self) -> list[Wave]:
        """Return the waves of the switch in their order, those with nothing to do left out."""
        waves = (
            self.stop_callers_wave(),
            self.stop_servers_wave(),
            self.write_wave(),
            self.cells_wave(),
            self.start_servers_wave(),
            self.start_callers_wave(),
        )
        return [wave for wave in waves if wave.intents]

    def _wave(self, title: str, intents: Mapping[str, tuple[Intent, ...]]) -> Wave:
        return Wave(f"{self.project.name}: {title}", self.scope, {host: own for host, own in intents.items() if own})

    def _each(self, verb: str, units: Iterable[str]) -> tuple[Intent, ...]:
        return tuple(
            Intent(f"unit.{verb}", {"unit": unit, "timeout": self.timeout}, f"{verb} {unit}") for unit in units
        )


def plan_projects(deployment: Deployment, facts: Facts) -> list[ProjectPlan]:
    """Return a plan for each project, in the catalogue's order.

    Raises ConfigurationError with every obstacle: nothing was touched then.
    """
    mistakes = obstacles(deployment, facts)
    if mistakes:
        raise ConfigurationError(mistakes)
    listen = notify_urls(deployment, facts)
    return [_plan_project(deployment, project, facts, listen) for project in deployment.projects]


def obstacles(deployment: Deployment, facts: Facts) -> list[Mistake]:
    """Return what is wrong with each project's main file on each of its hosts, and with what runs there."""
    return [
        mistake
        for project in deployment.projects
        for mistake in (
            *(one for host in project.hosts for one in _mistakes(facts[host.name], project)),
            *client_obstacles(project, resolve(deployment, project), _of(project, facts)),
            *_cut_off(deployment, project, _of(project, facts)),
            *_unread_cells(deployment, project, facts),
        )
    ]


def notify_urls(deployment: Deployment, facts: Facts) -> dict[str, tuple[Secret, ...]]:
    """Return, by project that notifies, the notify URLs its hosts shall use; one when they agree."""
    found: dict[str, tuple[Secret, ...]] = {}
    for project in deployment.projects:
        if project.project.notifies:
            bus = resolve(deployment, project).notify
            files = [read_service_file(fact, project) for fact in _of(project, facts)]
            urls = [notify_bus.wanted_url(ini, bus, keep=project.notify == "keep") for ini in files]
            found[project.name] = tuple(dict.fromkeys(urls))
    return found


def notifying_over_ours(deployment: Deployment, facts: Facts) -> list[ProjectDeployment]:
    """Return the projects whose notifications go, or shall go, over the deployment's own brokers."""
    urls = notify_urls(deployment, facts)
    return [
        project
        for project in deployment.projects
        if any(notify_bus.is_on(url, resolve(deployment, project).notify) for url in urls.get(project.name, ()))
    ]


def expected_servers(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> tuple[RpcServer, ...]:
    """Return the servers that must answer: of the active units, and of those seen on the bus that RPC is on today."""
    files = [(fact, read_service_file(fact, project)) for fact in _of(project, facts)]
    named = [server for fact, ini in files for server in servers_on(project, fact, ini)]
    today = [bus for _, ini in files if (bus := rpc_bus(ini))]
    # The name of a cluster of cinder-volume looks like a server's on RabbitMQ, and nobody answers to it on a router.
    clusters = {ini.get("DEFAULT", "cluster") for _, ini in files}
    seen = [one for one in _seen(deployment, project, facts, today) if one.server.partition("@")[0] not in clusters]
    return tuple(merge(named, seen))


def _plan_project(
    deployment: Deployment, project: ProjectDeployment, facts: Facts, listen: Mapping[str, tuple[Secret, ...]]
) -> ProjectPlan:
    transports = resolve(deployment, project)
    hosts = _of(project, facts)
    buses = tuple(url for urls in listen.values() for url in urls)
    edits = {fact.host: edit_service_file(fact, project, transports, buses) for fact in hosts}
    changed = {host: edit for host, edit in edits.items() if edit.changed}
    cells = plan_cells(deployment, project, transports.rpc, facts)
    # RPC moves as a whole, also where a file is right already; so do cells, which services remember as they start. And
    # where a server stops, callers everywhere do: else its bus never becomes idle.
    whole = bool(cells.intents) or any(edit.rpc_moves for edit in changed.values()) or _serves(project, hosts, changed)
    stopping = [fact for fact in hosts if whole or fact.host in changed]
    amqp = transports.rpc.driver == "amqp"
    return ProjectPlan(
        project=project,
        rpc=transports.rpc,
        today={fact.host: rpc_bus(read_service_file(fact, project)) for fact in hosts},
        edits=changed,
        clients=client_intents(project, hosts, deployment.timeouts.install) if amqp else {},
        cells=cells.intents,
        lines=cells.lines,
        units={fact.host: tuple(unit.name for unit in active_units(project, fact)) for fact in stopping},
        answering={fact.host: server_units(project, fact) for fact in stopping},
        servers=expected_servers(deployment, project, facts),
        timeout=deployment.timeouts.step,
    )


def _serves(project: ProjectDeployment, facts: Iterable[HostFacts], hosts: Collection[str]) -> bool:
    """Whether a unit that answers RPC runs on any of these hosts."""
    return any(
        unit.name in server_units(project, fact)
        for fact in facts
        if fact.host in hosts
        for unit in active_units(project, fact)
    )


def _seen(deployment: Deployment, project: ProjectDeployment, facts: Facts, today: Iterable[RpcBus]) -> list[RpcServer]:
    """Return the servers that the project's bus shows; one that is planned counts where nobody left another yet."""
    brokers = {bus.vhost for bus in today if bus.is_brokers(deployment)}
    routers = {bus.vhost for bus in today if bus.driver == "amqp" and bus.served_by(deployment)}
    planned = resolve(deployment, project).rpc.driver
    if planned == "rabbit" and not routers:
        brokers.add(project.vhost)
    if planned == "amqp" and not brokers:
        routers.add(project.vhost)
    states = [facts[host.name].rabbitmq or {} for host in deployment.rabbitmq]
    consumers = [seen for state in states for seen in state.get("consumers", [])]
    views = [fact.router.view for fact in facts.values() if fact.router]
    links = [link for view in views if view for link in view.links]
    return [*servers_seen(project, brokers, consumers), *servers_attached(project, routers, links)]


def _of(project: ProjectDeployment, facts: Facts) -> list[HostFacts]:
    return [facts[host.name] for host in project.hosts]


def _cut_off(deployment: Deployment, project: ProjectDeployment, facts: Iterable[HostFacts]) -> list[Mistake]:
    files = (read_service_file(fact, project) for fact in facts if not _mistakes(fact, project))
    hosts = dict.fromkeys(host for bus in filter(None, map(rpc_bus, files)) for host in cut_off(bus, deployment))
    problem = (
        f"leaves the group qdrouterd while {project.name} is on it, and would be cut off from the routers that stay. "
        "Go back to RabbitMQ first: empty the group and migrate, then name the new routers"
    )
    return [Mistake(host.name, "", problem) for host in hosts]


def _unread_cells(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> list[Mistake]:
    # A file that cannot be read is a mistake of its own: what it says of the bus is not known before.
    if any(_mistakes(fact, project) for fact in _of(project, facts)):
        return []
    return cell_obstacles(project, resolve(deployment, project).rpc, facts)


def _mistakes(facts: HostFacts, project: ProjectDeployment) -> list[Mistake]:
    try:
        read_service_file(facts, project)
    except ConfigurationError as error:
        return error.mistakes
    return []

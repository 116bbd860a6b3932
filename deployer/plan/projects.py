"""The plan of each project: files to edit, units that stop and start, servers that must answer afterwards. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.transports import Transport, resolve
from deployer.plan.bus_today import RpcBus, rpc_bus
from deployer.plan.cell_moves import plan_cells
from deployer.plan.clients import client_intents
from deployer.plan.effective import effective_configs, units_of
from deployer.plan.expected import (
    RpcServer,
    active_units,
    merge,
    server_units,
    servers_attached,
    servers_on,
    servers_seen,
)
from deployer.plan.observed import HostFacts, consumers_of
from deployer.plan.obstacles import Facts, edit_projects, obstacles
from deployer.plan.service_files import FileEdit, ServiceFiles
from deployer.plan.stale import Looks, stale_units
from deployer.plan.steps import Intent, Wave


@dataclass(frozen=True)
class ProjectPlan:
    """What one project needs, by host, and the servers that must answer afterwards.

    `rpc` is the planned bus. `edits` has the files that change, `reads` the files of every unit, as it reads them,
    `contents` the sha256 of each of them, by path: what is not edited has a say in what an edit comes to.
    `units` has the active units of every host that stops for the switch, in the catalogue's order; `answering` those
    among them that are RPC servers. `clients` are staged installations, `lines` tell people of the cells. `timeout`
    (s): one unit to stop or start. `confirm` (s): how long hosts wait for the word that all is proven before they go
    back by themselves. `stale` has, by host, the active units that run on other messaging options than their files
    hold by now.
    """

    project: ProjectDeployment
    rpc: Transport
    edits: dict[str, tuple[FileEdit, ...]]
    reads: dict[str, dict[str, tuple[str, ...]]]
    contents: dict[str, dict[str, str | None]]
    clients: dict[str, tuple[Intent, ...]]
    cells: dict[str, tuple[Intent, ...]]
    lines: tuple[str, ...]
    units: dict[str, tuple[str, ...]]
    answering: dict[str, frozenset[str]]
    servers: tuple[RpcServer, ...]
    timeout: float
    confirm: float
    stale: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return self.lasts or bool(self.stale)

    @property
    def lasts(self) -> bool:
        """Whether the project is another afterwards: services that were only restarted have nothing to go back to."""
        return bool(self.edits or self.clients or self.cells)

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

    @property
    def guarded(self) -> tuple[str, ...]:
        """Return the hosts where something stops or changes."""
        names = (host.name for host in self.project.hosts)
        return tuple(host for host in names if self.units.get(host) or host in self.edits or host in self.cells)

    def begin_wave(self) -> Wave:
        """Return what lets every host put the project back by itself; it comes before anything stops anywhere."""
        reason = f"put {self.project.name} back unless it is confirmed"
        units = {host: sorted({*self.reads[host], *self.units.get(host, ())}) for host in self.guarded}
        args = {host: {"seconds": self.confirm, "units": own} for host, own in units.items()}
        return self._wave("begin", {host: (Intent("commit.begin", own, reason),) for host, own in args.items()})

    def stop_callers_wave(self) -> Wave:
        """Return the stop of every caller, on all hosts at once."""
        return self._wave("stop callers", {host: self._each("stop", self.callers_of(host)) for host in self.units})

    def stop_servers_wave(self) -> Wave:
        """Return the stop of every RPC server, on all hosts at once."""
        return self._wave("stop servers", {host: self._each("stop", self.servers_of(host)) for host in self.units})

    def write_wave(self) -> Wave:
        """Return the write of every changed file of the project, on all its hosts at once."""
        return self._wave(
            "write configuration", {host: tuple(edit.intent() for edit in own) for host, own in self.edits.items()}
        )

    def cells_wave(self) -> Wave:
        """Return the move of the cell mappings, on one host."""
        return self._wave("move cell mappings", self.cells)

    def start_servers_wave(self) -> Wave:
        """Return the start of every RPC server that ran, on all hosts at once."""
        return self._wave("start servers", {host: self._each("start", self.servers_of(host)) for host in self.units})

    def start_callers_wave(self) -> Wave:
        """Return the start of every caller that ran, on all hosts at once."""
        return self._wave("start callers", {host: self._each("start", self.callers_of(host)) for host in self.units})

    def confirm_wave(self) -> Wave:
        """Return the word to every host that the project is proven and stays."""
        intent = Intent("commit.confirm", {}, f"keep {self.project.name}")
        return self._wave("confirm", dict.fromkeys(self.guarded, (intent,)))

    def switch_waves(self) -> list[Wave]:
        """Return the waves of the switch in their order, those with nothing to do left out."""
        waves = (
            self.begin_wave(),
            self.stop_callers_wave(),
            self.stop_servers_wave(),
            self.write_wave(),
            self.cells_wave(),
            self.start_servers_wave(),
            self.start_callers_wave(),
            self.confirm_wave(),
        )
        return [wave for wave in waves if wave.intents]

    def _wave(self, title: str, intents: Mapping[str, tuple[Intent, ...]]) -> Wave:
        return Wave(f"{self.project.name}: {title}", self.scope, {host: own for host, own in intents.items() if own})

    def _each(self, verb: str, units: Iterable[str]) -> tuple[Intent, ...]:
        return tuple(
            Intent(f"unit.{verb}", {"unit": unit, "timeout": self.timeout}, f"{verb} {unit}") for unit in units
        )


def plan_projects(
    deployment: Deployment, facts: Facts, looks: Looks | None = None, *, deep: bool = True
) -> list[ProjectPlan]:
    """Return a plan for each project, in the catalogue's order; without `looks` nobody is found stale.

    Unless `deep`, the cell mappings were not read, and nobody misses them. Raises ConfigurationError with every
    obstacle: nothing was touched then.
    """
    edited, mistakes = edit_projects(deployment, facts)
    mistakes = [*mistakes, *obstacles(deployment, facts, deep=deep)]
    if mistakes:
        raise ConfigurationError(mistakes)
    return [_plan_project(deployment, project, facts, edited[project.name], looks) for project in deployment.projects]


def expected_servers(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> tuple[RpcServer, ...]:
    """Return the servers that must answer: of the active units, and of those seen on the bus that RPC is on today."""
    hosts = [(fact, effective_configs(fact, project)) for fact in _of(project, facts)]
    named = [server for fact, configs in hosts for server in servers_on(project, fact, configs)]
    today = [bus for _, configs in hosts for conf in configs.values() if (bus := rpc_bus(conf))]
    # The name of a cluster of cinder-volume looks like a server's on RabbitMQ, and nobody answers to it on a router.
    clusters = {conf.text("DEFAULT", "cluster") for _, configs in hosts for conf in configs.values()}
    seen = [one for one in _seen(deployment, project, facts, today) if one.server.partition("@")[0] not in clusters]
    return tuple(merge(named, seen))


def _plan_project(
    deployment: Deployment,
    project: ProjectDeployment,
    facts: Facts,
    files: Mapping[str, ServiceFiles],
    looks: Looks | None,
) -> ProjectPlan:
    rpc = resolve(deployment, project).rpc
    hosts = _of(project, facts)
    edits = {host: own.edits for host, own in files.items() if own.edits}
    cells = plan_cells(deployment, project, rpc, facts)
    old = {} if looks is None else stale_units(project, facts, looks)
    stale = {host: units for host, units in old.items() if host not in edits}
    touched = edits.keys() | stale.keys()
    # RPC moves as a whole, also where a file is right already; so do cells, which services remember as they start. And
    # where a server stops, callers everywhere do: else its bus never becomes idle.
    moves = any(edit.rpc_moves for own in edits.values() for edit in own)
    whole = bool(cells.intents) or moves or _serves(project, hosts, touched)
    stopping = [fact for fact in hosts if whole or fact.host in touched]
    return ProjectPlan(
        project=project,
        rpc=rpc,
        edits=edits,
        reads={fact.host: reads(project, fact) for fact in hosts},
        contents={fact.host: _contents(project, fact) for fact in hosts},
        clients=client_intents(project, hosts, deployment.timeouts.install) if rpc.driver == "amqp" else {},
        cells=cells.intents,
        lines=cells.lines,
        units={fact.host: tuple(unit.name for unit in active_units(project, fact)) for fact in stopping},
        answering={fact.host: server_units(project, fact) for fact in stopping},
        servers=expected_servers(deployment, project, facts),
        timeout=deployment.timeouts.step,
        confirm=deployment.timeouts.confirm,
        stale=stale,
    )


def reads(project: ProjectDeployment, facts: HostFacts) -> dict[str, tuple[str, ...]]:
    """Return the files that each of the project's units reads, where its start told."""
    return {unit.name: unit.config.files for unit in units_of(facts, project) if unit.config}


def _contents(project: ProjectDeployment, facts: HostFacts) -> dict[str, str | None]:
    paths = (path for conf in effective_configs(facts, project).values() for path, _ in conf.files)
    return {path: facts.files[path].sha256 for path in paths}


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
    clusters = [(cluster, bus.vhost) for bus in today if (cluster := bus.cluster(deployment))]
    routers = {bus.vhost for bus in today if bus.driver == "amqp" and bus.served_by(deployment)}
    planned = RpcBus.of(resolve(deployment, project).rpc.url())
    home = planned.cluster(deployment) if planned and not routers else None
    if home and all(cluster == home for cluster, _ in clusters):
        clusters.append((home, project.vhost))
    elif planned and planned.driver == "amqp" and not clusters:
        routers.add(project.vhost)
    views = [fact.router.view for fact in facts.values() if fact.router]
    links = [link for view in views if view for link in view.links]
    on_brokers = [
        server
        for cluster, vhost in dict.fromkeys(clusters)
        for server in servers_seen(project, {vhost}, consumers_of(cluster.hosts, facts))
    ]
    return [*on_brokers, *servers_attached(project, routers, links)]


def _of(project: ProjectDeployment, facts: Facts) -> list[HostFacts]:
    return [facts[host.name] for host in project.hosts]

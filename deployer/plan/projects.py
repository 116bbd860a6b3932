"""The plan of each project: which files to edit, which units to restart, which servers must answer afterwards. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.errors import ConfigurationError, Mistake
from deployer.ini import IniFile
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport, resolve
from deployer.plan import notify_bus
from deployer.plan.expected import RpcServer, active_units, merge, servers_on, servers_seen
from deployer.plan.observed import HostFacts
from deployer.plan.service_file import FileEdit, edit_service_file, read_service_file
from deployer.plan.steps import Intent, Wave

Facts = Mapping[str, HostFacts]


@dataclass(frozen=True)
class ProjectPlan:
    """What one project needs: its edits and restarts by host, and the servers that must answer afterwards."""

    project: ProjectDeployment
    edits: dict[str, FileEdit]
    restarts: dict[str, tuple[str, ...]]
    servers: tuple[RpcServer, ...]

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return bool(self.edits)

    def write_wave(self) -> Wave:
        """Return the write of every changed file of the project, on all its hosts at once."""
        intents: dict[str, tuple[Intent, ...]] = {host: (edit.intent(),) for host, edit in self.edits.items()}
        return Wave(f"{self.project.name}: write configuration", self.scope, intents)

    def restart_waves(self, timeout: float) -> list[Wave]:
        """Return one restart wave a host: hosts that run RPC servers first, so that callers find them."""
        servers = {server.host for server in self.servers}
        ordered = sorted(self.restarts, key=lambda host: (host not in servers, list(self.restarts).index(host)))
        return [
            Wave(f"{self.project.name}: restart on {host}", self.scope, {host: _restarts(self.restarts[host], timeout)})
            for host in ordered
            if self.restarts[host]
        ]

    @property
    def scope(self) -> str:
        """Return the scope that this project's steps bear in the journal."""
        return f"project:{self.project.name}"


def plan_projects(deployment: Deployment, facts: Facts) -> list[ProjectPlan]:
    """Return a plan for each project, in the catalogue's order.

    Raises ConfigurationError with every file that is missing or cannot be edited: nothing was touched then.
    """
    mistakes = unreadable_files(deployment, facts)
    if mistakes:
        raise ConfigurationError(mistakes)
    listen = notify_urls(deployment, facts)
    return [_plan_project(deployment, project, facts, listen) for project in deployment.projects]


def unreadable_files(deployment: Deployment, facts: Facts) -> list[Mistake]:
    """Return what is wrong with each project's main file on each of its hosts."""
    return [
        mistake
        for project in deployment.projects
        for host in project.hosts
        for mistake in _mistakes(facts[host.name], project)
    ]


def notify_urls(deployment: Deployment, facts: Facts) -> dict[str, tuple[Secret, ...]]:
    """Return, by project that notifies, the notify URLs its hosts shall use; one when they agree."""
    found: dict[str, tuple[Secret, ...]] = {}
    for project in deployment.projects:
        if project.project.notifies:
            bus = resolve(deployment, project).notify
            files = [read_service_file(facts[host.name], project) for host in project.hosts]
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


def _plan_project(
    deployment: Deployment, project: ProjectDeployment, facts: Facts, listen: Mapping[str, tuple[Secret, ...]]
) -> ProjectPlan:
    transports = resolve(deployment, project)
    buses = tuple(url for urls in listen.values() for url in urls)
    hosts = [facts[host.name] for host in project.hosts]
    edits = {fact.host: edit_service_file(fact, project, transports, buses) for fact in hosts}
    changed = {host: edit for host, edit in edits.items() if edit.changed}
    restarts = {
        fact.host: tuple(unit.name for unit in active_units(project, fact)) for fact in hosts if fact.host in changed
    }
    return ProjectPlan(project, changed, restarts, expected_servers(deployment, project, facts))


def expected_servers(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> tuple[RpcServer, ...]:
    """Return the servers that must answer: of the active units, and of the consumers the brokers show today."""
    files = [(facts[host.name], read_service_file(facts[host.name], project)) for host in project.hosts]
    named = [server for fact, ini in files for server in servers_on(project, fact, ini)]
    bus = resolve(deployment, project).rpc
    vhosts = {project.vhost, *(vhost for _, ini in files for vhost in _vhost_today(ini, bus))}
    brokers = [facts[host.name].rabbitmq or {} for host in deployment.rabbitmq]
    consumers = [seen for broker in brokers for seen in broker.get("consumers", [])]
    return tuple(merge(named, servers_seen(project, vhosts, consumers)))


def _vhost_today(ini: IniFile, bus: Transport) -> list[str]:
    """Return the vhost of our brokers that the file's RPC URL names: where the project's servers are seen today."""
    try:
        url = TransportURL.parse(ini.get("DEFAULT", "transport_url") or "")
    except ValueError:
        return []
    return [url.vhost] if notify_bus.names_any(url, bus) else []


def _mistakes(facts: HostFacts, project: ProjectDeployment) -> list[Mistake]:
    try:
        read_service_file(facts, project)
    except ConfigurationError as error:
        return error.mistakes
    return []


def _restarts(units: tuple[str, ...], timeout: float) -> tuple[Intent, ...]:
    return tuple(Intent("unit.restart", {"unit": unit, "timeout": timeout}, f"restart {unit}") for unit in units)

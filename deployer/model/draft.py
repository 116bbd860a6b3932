"""What a checked inventory asks for, all but its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nornir.core.inventory import Inventory

from deployer.model.catalogue import Project
from deployer.model.deployment import (
    QDROUTERD,
    RABBITMQ,
    BrokerSettings,
    Deployment,
    Host,
    Limits,
    Policy,
    ProjectDeployment,
    RabbitCluster,
    Retention,
    RouterSettings,
    ServerTls,
    Sourced,
    Timeouts,
)
from deployer.model.inventory_files import InventoryFiles
from deployer.model.inventory_schema import (
    CONNECTION,
    HA_POLICY,
    SSH_PORT,
    PolicySettings,
    QdrouterdSettings,
    RabbitmqSettings,
    RouterPorts,
    Settings,
)
from deployer.model.osa_chain import PORTS, bus_values
from deployer.model.osa_variables import BUSES, WHERE, place, variable
from deployer.model.secrets import Secret
from deployer.model.yaml_source import YamlFile


def draft_deployment(
    files: InventoryFiles,
    inventory: Inventory,
    variables: Mapping[str, Sourced[Any]],
    catalogue: Mapping[str, Project],
    directory: Path,
) -> Deployment:
    """Return the deployment that the files describe, its passwords empty yet; the files' shapes are right."""
    settings = files.defaults.data.hybridmsg
    hosts = _hosts(inventory)
    deployed = [project for name, project in catalogue.items() if any(name in host.groups for host in hosts.values())]
    draft = Deployment(
        directory=directory,
        hosts=hosts,
        clusters=(),
        qdrouterd=_members(hosts, QDROUTERD),
        projects=tuple(_project(project, hosts, settings, variables) for project in deployed),
        broker=_broker(settings.rabbitmq),
        router=_router(settings.qdrouterd, directory),
        timeouts=Timeouts(**settings.timeouts.model_dump()),
        limits=Limits(**settings.limits.model_dump()),
        journal=Retention(**settings.journal.model_dump()),
        waive=tuple(settings.waive),
        variables=variables,
        sources=dict(_sources(files.defaults_file)),
    )
    draft = replace(draft, clusters=tuple(_clusters(draft)))
    if settings.rabbitmq.policies is None and any(len(cluster.hosts) > 1 for cluster in draft.clusters):
        draft = replace(draft, broker=replace(draft.broker, policies=_policies([HA_POLICY])))
    return draft


def _hosts(inventory: Inventory) -> dict[str, Host]:
    hosts = {}
    for name, host in inventory.hosts.items():
        options = host.get_connection_parameters(CONNECTION)
        hosts[name] = Host(
            name=name,
            address=options.hostname or "",
            port=options.port or SSH_PORT,
            username=options.username or "",
            groups=tuple(group.name for group in host.extended_groups()),
        )
    return hosts


def _members(hosts: Mapping[str, Host], group: str) -> tuple[Host, ...]:
    return tuple(host for host in hosts.values() if group in host.groups)


def _project(
    project: Project, hosts: Mapping[str, Host], settings: Settings, variables: Mapping[str, Sourced[Any]]
) -> ProjectDeployment:
    own = settings.projects.get(project.name)
    vhost, user = (variables.get(variable("rpc", field, project.name)) for field in ("vhost", "userid"))
    named = any(variable("notify", field, name) in variables for field in WHERE for name in (project.name, ""))
    return ProjectDeployment(
        name=project.name,
        project=project,
        hosts=_members(hosts, project.name),
        vhost=vhost.value if vhost else (own and own.vhost) or project.vhost or project.name,
        user=user.value if user else (own and own.user) or project.user or project.name,
        password=Secret(""),
        # Whoever says which bus notifications are on does not want them kept elsewhere.
        notify=(own and own.notify) or ("rabbitmq" if named else settings.notify),
    )


def _clusters(draft: Deployment) -> Iterator[RabbitCluster]:
    """Yield a cluster for each group that a bus is on, and the usual one also when the last bus is about to leave it.

    What is in flight there, who would stay behind, and what waits there on the way back is asked of its brokers.
    """
    found = [bus_values(draft, project, bus) for project in draft.projects for bus in BUSES]
    groups = [values.host_group.value for values in found if values.transport.value == "rabbit"]
    clusters = {
        group: members
        for group in dict.fromkeys(groups)
        if group and group != QDROUTERD and (members := draft.members(group))
    }
    usual = draft.members(RABBITMQ)
    # It may also be a group around the others.
    if usual and not any(host in members for members in clusters.values() for host in usual):
        clusters[RABBITMQ] = usual
    for group, members in clusters.items():
        yield RabbitCluster(group, members)


def _sources(file: YamlFile) -> Iterator[tuple[str, str]]:
    """Yield each setting of hybridmsg's that was written ("rabbitmq.port"), with its place."""
    for path in file.lines:
        if path[:2] == ("data", "hybridmsg"):
            yield ".".join(map(str, path[2:])), place(file, path)


def _broker(settings: RabbitmqSettings) -> BrokerSettings:
    return BrokerSettings(
        port=settings.port or PORTS[settings.tls is not None],
        package=settings.package,
        policies=_policies(settings.policies or []),
        tls=ServerTls(**settings.tls.model_dump()) if settings.tls else None,
    )


def _policies(settings: list[PolicySettings]) -> tuple[Policy, ...]:
    return tuple(Policy(**policy.model_dump()) for policy in settings)


def _router(settings: QdrouterdSettings, directory: Path) -> RouterSettings:
    ports = RouterPorts.of(settings)
    return RouterSettings(
        package=settings.package,
        package_file=directory / Path(settings.package_file).expanduser() if settings.package_file else None,
        port=ports.clients,
        inter_router_port=ports.routers,
        tls=ServerTls(**settings.tls.model_dump()) if settings.tls else None,
        realm=settings.realm,
        user=settings.user,
    )

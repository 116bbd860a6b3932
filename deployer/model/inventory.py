"""From an inventory directory to a Deployment: read, check everything, resolve."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nornir.core.inventory import Inventory

from deployer.errors import ConfigurationError, Mistake
from deployer.model.catalogue import Project, load_catalogue
from deployer.model.cross_checks import (
    QDROUTERD,
    RABBITMQ,
    check_brokers,
    check_groups,
    check_hosts,
    check_projects,
)
from deployer.model.deployment import (
    BrokerSettings,
    Deployment,
    Host,
    Limits,
    Policy,
    ProjectDeployment,
    RabbitCluster,
    RouterSettings,
    RouterTls,
    Timeouts,
)
from deployer.model.inventory_files import InventoryFiles, read_inventory
from deployer.model.inventory_schema import (
    CONNECTION,
    HA_POLICY,
    SSH_PORT,
    QdrouterdSettings,
    RabbitmqSettings,
    RouterPorts,
    Settings,
)
from deployer.model.membership import build_inventory, resolve_jump_hosts
from deployer.model.passwords import ERLANG_COOKIE, ROUTER_PASSWORD, load_or_generate, password_key
from deployer.model.router_rules import check_routers
from deployer.model.secret_sources import SecretSources
from deployer.model.secrets import Secret

OWN_PROJECTS = "projects"  # the operator's part of the catalogue, in the inventory directory


def load_deployment(directory: Path) -> Deployment:
    """Return the deployment that hosts.yaml, groups.yaml and defaults.yaml in `directory` describe.

    Missing secrets are generated into the secrets file, only once everything else is right.
    Raises ConfigurationError with every mistake found.
    """
    catalogue = load_catalogue(directory / OWN_PROJECTS)
    files, inventory = _checked(directory, catalogue)
    settings = files.defaults.data.hybridmsg
    hosts = _hosts(inventory)
    deployed = [name for name in catalogue if _members(hosts, name)]
    routers = _members(hosts, QDROUTERD)
    wanted = [*map(password_key, deployed), ERLANG_COOKIE, *([ROUTER_PASSWORD] if routers else [])]
    path = directory / Path(settings.secrets_file).expanduser()
    # Also without routers: those that a deployment once had are asked who is attached before they are left behind.
    sources = SecretSources.of(settings.secrets, directory, os.environ)
    found = load_or_generate(path, wanted, [ROUTER_PASSWORD], sources)
    passwords = found.values
    projects = tuple(_project(catalogue[name], hosts, settings, passwords) for name in deployed)
    _refuse_one_user_with_two_passwords(path, projects)
    brokers = _members(hosts, RABBITMQ)
    return Deployment(
        directory=directory,
        hosts=hosts,
        clusters=(RabbitCluster(RABBITMQ, brokers),) if brokers else (),
        qdrouterd=routers,
        projects=projects,
        broker=_broker(settings.rabbitmq, mirrored=len(brokers) > 1),
        router=_router(settings.qdrouterd, directory),
        timeouts=Timeouts(**settings.timeouts.model_dump()),
        limits=Limits(**settings.limits.model_dump()),
        erlang_cookie=passwords[ERLANG_COOKIE],
        router_password=passwords.get(ROUTER_PASSWORD, Secret("")),
        generated_secrets=found.generated,
    )


def load_inventory(directory: Path) -> Inventory:
    """Return the same directory as Nornir's inventory; unlike SimpleInventory it knows the roles unasked,
    and jump hosts by their name in the inventory.

    Raises ConfigurationError with every mistake found.
    """
    inventory = _checked(directory, load_catalogue(directory / OWN_PROJECTS))[1]
    resolve_jump_hosts(inventory)
    return inventory


def _checked(directory: Path, catalogue: Mapping[str, Project]) -> tuple[InventoryFiles, Inventory]:
    files = read_inventory(directory)
    roles = (RABBITMQ, QDROUTERD, *catalogue)
    check_projects(files, catalogue)
    if check_groups(files, roles):
        inventory = build_inventory(files.hosts, files.groups, files.defaults, roles)
        check_hosts(files, inventory, roles)
        hosts = _hosts(inventory)
        deployed = [name for name in catalogue if _members(hosts, name)]
        check_brokers(files, hosts.values(), deployed)
        check_routers(files, hosts.values(), deployed, directory)
    if mistakes := files.mistakes():
        raise ConfigurationError(mistakes)
    return files, inventory


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
    project: Project, hosts: Mapping[str, Host], settings: Settings, passwords: Mapping[str, Secret]
) -> ProjectDeployment:
    own = settings.projects.get(project.name)
    return ProjectDeployment(
        name=project.name,
        project=project,
        hosts=_members(hosts, project.name),
        vhost=(own and own.vhost) or project.name,
        user=(own and own.user) or project.name,
        password=passwords[password_key(project.name)],
        notify=(own and own.notify) or settings.notify,
    )


def _broker(settings: RabbitmqSettings, *, mirrored: bool) -> BrokerSettings:
    policies = settings.policies
    if policies is None:
        policies = [HA_POLICY] if mirrored else []
    return BrokerSettings(
        port=settings.port,
        package=settings.package,
        policies=tuple(Policy(**policy.model_dump()) for policy in policies),
    )


def _router(settings: QdrouterdSettings, directory: Path) -> RouterSettings:
    ports = RouterPorts.of(settings)
    return RouterSettings(
        package=settings.package,
        package_file=directory / Path(settings.package_file).expanduser() if settings.package_file else None,
        port=ports.clients,
        inter_router_port=ports.routers,
        tls=RouterTls(**settings.tls.model_dump()) if settings.tls else None,
        realm=settings.realm,
        user=settings.user,
    )


def _refuse_one_user_with_two_passwords(path: Path, projects: tuple[ProjectDeployment, ...]) -> None:
    first: dict[str, ProjectDeployment] = {}
    mistakes = []
    for project in projects:
        other = first.setdefault(project.user, project)
        if other.password != project.password:
            problem = (
                f'is the password of the user "{project.user}" and differs from {password_key(other.name)}. '
                "Give both keys one value, or the projects users of their own"
            )
            mistakes.append(Mistake(str(path), password_key(project.name), problem))
    if mistakes:
        raise ConfigurationError(mistakes)

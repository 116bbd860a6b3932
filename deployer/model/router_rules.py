"""What can be wrong with the qdrouterd group and its settings, taken together with the rest of the inventory."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from deployer.model.cross_checks import QDROUTERD, RABBITMQ
from deployer.model.deployment import Host
from deployer.model.inventory_files import InventoryFiles
from deployer.model.inventory_schema import RouterPorts, Settings
from deployer.model.yaml_source import KeyPath

MOST_ROUTERS = 8
"""As many as were seen to deliver each fanout exactly once, in the steady state and after a loss."""

_SETTINGS: KeyPath = ("data", "hybridmsg", "qdrouterd")
_PACKAGE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_~:-]*\.(deb|rpm)")
# user@realm is one name in Cyrus SASL, and a program that is given -x takes it for an option.
_SASL_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def check_routers(files: InventoryFiles, hosts: Collection[Host], projects: Collection[str], directory: Path) -> None:
    """Record too many routers, ports that meet, users that SASL cannot tell apart, and a missing package file.

    `projects` are those that are deployed.
    """
    settings = files.defaults.data.hybridmsg
    _check_package_file(files, settings, directory)
    routers = [host for host in hosts if QDROUTERD in host.groups]
    if not routers:
        return
    if len(routers) > MOST_ROUTERS:
        problem = f"{len(routers)} hosts are in the group {QDROUTERD}. Keep {MOST_ROUTERS} at most: two or three do"
        files.hosts_file.refuse((routers[MOST_ROUTERS].name, "groups"), problem)
    _check_ports(files, settings, routers)
    _check_users(files, {name: _user(settings, name) for name in projects}, settings.qdrouterd.user)


def _check_package_file(files: InventoryFiles, settings: Settings, directory: Path) -> None:
    named = settings.qdrouterd.package_file
    if named is None:
        return
    path = directory / Path(named).expanduser()
    if not _PACKAGE_FILE.fullmatch(path.name):
        problem = "is no package: its name is letters, digits and .+_~:- and ends in .deb or .rpm"
        files.defaults_file.refuse((*_SETTINGS, "package_file"), problem)
    elif not path.is_file():
        problem = f"no such file: {path}. Put the package there, or take the line out to install from a repository"
        files.defaults_file.refuse((*_SETTINGS, "package_file"), problem)


def _check_ports(files: InventoryFiles, settings: Settings, routers: Collection[Host]) -> None:
    ports = RouterPorts.of(settings.qdrouterd)
    if ports.clients == ports.routers:
        problem = f"is {ports.routers}, and so is the port for clients. Give each its own"
        files.defaults_file.refuse((*_SETTINGS, "inter_router_port"), problem)
    shared = [host.name for host in routers if RABBITMQ in host.groups]
    for key, port in (("port", ports.clients), ("inter_router_port", ports.routers)):
        if shared and port == settings.rabbitmq.port:
            problem = f"is {port}, and RabbitMQ has that port on {', '.join(shared)}. Take another"
            files.defaults_file.refuse((*_SETTINGS, key), problem)


def _check_users(files: InventoryFiles, users: Mapping[str, str], administrator: str) -> None:
    owners: dict[str, str] = {}
    for project, user in users.items():
        where: KeyPath = ("data", "hybridmsg", "projects", project, "user")
        owner = owners.setdefault(user, project)
        if owner != project:
            # Else a project would wait for the other's callers to leave, which never happens.
            problem = f'"{user}" is the user of {owner} too, and routers tell projects apart by it. Give each its own'
            files.defaults_file.refuse(where, problem)
        elif user == administrator:
            problem = f'"{user}" is the routers\' administrator. Give the project, or qdrouterd.user, another name'
            files.defaults_file.refuse(where, problem)
        elif not _SASL_USER.fullmatch(user):
            problem = f'"{user}" cannot log in to a router. Take letters, digits, dot, dash and underscore'
            files.defaults_file.refuse(where, problem)


def _user(settings: Settings, project: str) -> str:
    own = settings.projects.get(project)
    return (own and own.user) or project

"""What can be wrong with the qdrouterd group and its settings, taken together with the rest of the inventory."""

from __future__ import annotations

import re
from pathlib import Path

from deployer.model.deployment import QDROUTERD, Deployment
from deployer.model.inventory_files import InventoryFiles
from deployer.model.osa_chain import bus_values
from deployer.model.osa_variables import variable
from deployer.model.yaml_source import KeyPath

MOST_ROUTERS = 8
"""As many as were seen to deliver each fanout exactly once, in the steady state and after a loss."""

_SETTINGS: KeyPath = ("data", "hybridmsg", "qdrouterd")
_PACKAGE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_~:-]*\.(deb|rpm)")
# user@realm is one name in Cyrus SASL, and a program that is given -x takes it for an option.
_SASL_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def check_routers(files: InventoryFiles, draft: Deployment) -> None:
    """Record too many routers, ports that meet, users that SASL cannot tell apart, and a missing package file.

    `draft` is the deployment before its secrets are known.
    """
    _check_package_file(files, draft.directory)
    routers = draft.qdrouterd
    if not routers:
        return
    if len(routers) > MOST_ROUTERS:
        problem = f"{len(routers)} hosts are in the group {QDROUTERD}. Keep {MOST_ROUTERS} at most: two or three do"
        files.hosts_file.refuse((routers[MOST_ROUTERS].name, "groups"), problem)
    _check_ports(files, draft)
    _check_users(files, draft)


def _check_package_file(files: InventoryFiles, directory: Path) -> None:
    named = files.defaults.data.hybridmsg.qdrouterd.package_file
    if named is None:
        return
    path = directory / Path(named).expanduser()
    if not _PACKAGE_FILE.fullmatch(path.name):
        problem = "is no package: its name is letters, digits and .+_~:- and ends in .deb or .rpm"
        files.defaults_file.refuse((*_SETTINGS, "package_file"), problem)
    elif not path.is_file():
        problem = f"no such file: {path}. Put the package there, or take the line out to install from a repository"
        files.defaults_file.refuse((*_SETTINGS, "package_file"), problem)


def _check_ports(files: InventoryFiles, draft: Deployment) -> None:
    router, broker = draft.router, draft.broker
    if router.port == router.inter_router_port:
        problem = f"is {router.port}, and so is the port for clients. Give each its own"
        files.defaults_file.refuse((*_SETTINGS, "inter_router_port"), problem)
    shared = [host.name for host in draft.qdrouterd if host in draft.rabbitmq]
    for key, port in (("port", router.port), ("inter_router_port", router.inter_router_port)):
        if shared and port in (broker.port, broker.plain_port):
            problem = f"is {port}, and RabbitMQ has that port on {', '.join(shared)}. Take another"
            files.defaults_file.refuse((*_SETTINGS, key), problem)


def _check_users(files: InventoryFiles, draft: Deployment) -> None:
    owners: dict[str, str] = {}
    for project in draft.projects:
        rpc = bus_values(draft, project, "rpc")
        if rpc.transport.value != "amqp":
            continue
        name, user = variable("rpc", "userid", project.name), rpc.userid.value
        where: KeyPath = ("data", "hybridmsg", "projects", project.name, "user")
        where = ("data", name) if name in draft.variables else where
        owner = owners.setdefault(user, project.name)
        if owner != project.name:
            # Else a project would wait for the other's callers to leave, which never happens.
            problem = f'"{user}" is the user of {owner} too, and routers tell projects apart by it. Give each its own'
            files.defaults_file.refuse(where, problem)
        elif user == draft.router.user:
            problem = f'"{user}" is the routers\' administrator. Give the project, or qdrouterd.user, another name'
            files.defaults_file.refuse(where, problem)
        elif not _SASL_USER.fullmatch(user):
            problem = f'"{user}" cannot log in to a router. Take letters, digits, dot, dash and underscore'
            files.defaults_file.refuse(where, problem)

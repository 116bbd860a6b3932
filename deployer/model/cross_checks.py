"""What can be wrong between the entries of an inventory: groups, roles, addresses, jump hosts."""

from __future__ import annotations

import re
from collections.abc import Collection

from nornir.core.inventory import ConnectionOptions, Inventory

from deployer.model.deployment import QDROUTERD, Host
from deployer.model.inventory_files import InventoryFiles
from deployer.model.inventory_schema import CONNECTION, SSH_PORT
from deployer.model.membership import find_cycle
from deployer.model.shape_check import did_you_mean
from deployer.model.yaml_source import KeyPath, YamlFile

_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1", re.IGNORECASE)


def check_groups(files: InventoryFiles, roles: Collection[str]) -> bool:
    """Record unknown groups and cycles of groups; return False when there is a cycle."""
    known = {*files.groups, *roles}
    for file, elements in ((files.hosts_file, files.hosts), (files.groups_file, files.groups)):
        for name, element in elements.items():
            for index, group in enumerate(element.groups):
                if group not in known:
                    problem = f'no such group "{group}"{did_you_mean(group, known)}'
                    file.refuse((name, "groups", index), problem)
    cycle = find_cycle(files.groups)
    if cycle:
        problem = f"groups go round in a circle: {' -> '.join(cycle)}. Remove one link"
        files.groups_file.refuse((cycle[0], "groups"), problem)
    return not cycle


def check_hosts(files: InventoryFiles, inventory: Inventory, roles: Collection[str]) -> None:
    """Record hosts that have no address, share one, do nothing, or are reached by an impossible way."""
    parameters = {name: host.get_connection_parameters(CONNECTION) for name, host in inventory.hosts.items()}
    _check_addresses(files, parameters)
    _check_logins(files, parameters)
    _check_jump_hosts(files, parameters)
    jump_hosts = {_extra(options, "jump_host") for options in parameters.values()}
    for name, host in inventory.hosts.items():
        named = {group.name for group in host.extended_groups()}
        if not named & set(roles) and name not in jump_hosts and not _blamed(files.hosts_file, (name, "groups")):
            problem = f"does nothing: it has no role. Add it to one of {', '.join(roles)}, or remove it"
            files.hosts_file.refuse((name,), problem)


def _check_addresses(files: InventoryFiles, parameters: dict[str, ConnectionOptions]) -> None:
    owners: dict[tuple[str, int, str], str] = {}
    for name, options in parameters.items():
        if not options.hostname:
            if not _blamed(files.hosts_file, (name, "hostname")):
                files.hosts_file.refuse((name,), "has no address. Add: hostname: ADDRESS")
            continue
        # Behind different jump hosts one address is different machines.
        place = options.hostname.lower(), options.port or SSH_PORT, _extra(options, "jump_host")
        first = owners.setdefault(place, name)
        if first != name:
            line = files.hosts_file.line((first,))
            problem = f'is the same machine as "{first}" on line {line} ({place[0]}:{place[1]}). Keep one'
            files.hosts_file.refuse((name, "hostname"), problem)


def _check_logins(files: InventoryFiles, parameters: dict[str, ConnectionOptions]) -> None:
    """One mistake for all hosts: what is missing is missing in defaults.yaml, most of the time."""
    nameless = [name for name, options in parameters.items() if not options.username]
    keyless = [name for name, options in parameters.items() if not _extra(options, "key_file")]
    path: KeyPath = ("connection_options", CONNECTION, "extras", "key_file")
    wanted: list[tuple[KeyPath, list[str]]] = [(("username",), nameless), (path, keyless)]
    for where, names in wanted:
        if names and not _blamed(files.defaults_file, where):
            problem = f"is given nowhere for {', '.join(names)}. Set it here for all hosts, or for each"
            files.defaults_file.refuse(where, problem)


def _check_jump_hosts(files: InventoryFiles, parameters: dict[str, ConnectionOptions]) -> None:
    for name, options in parameters.items():
        jump = _extra(options, "jump_host")
        if not jump or "@" in jump or ":" in jump:
            continue
        path: KeyPath = (name, "connection_options", CONNECTION, "extras", "jump_host")
        if jump not in parameters:
            problem = f'no host of this inventory is called "{jump}"{did_you_mean(jump, parameters)}'
            files.hosts_file.refuse(path, f"{problem}. Or write user@host:port")
        elif jump == name:
            problem = "is its own jump host. Give it extras of its own, with no jump_host"
            files.hosts_file.refuse(path, problem)
        elif (next_jump := _extra(parameters[jump], "jump_host")) and next_jump != jump:
            problem = f'"{jump}" is itself behind a jump host. Take one that is reached directly'
            files.hosts_file.refuse(path, problem)


def check_projects(files: InventoryFiles, catalogue: Collection[str]) -> None:
    """Record settings for projects that do not exist."""
    for name in files.defaults.data.hybridmsg.projects:
        if name not in catalogue:
            problem = f"no such project{did_you_mean(name, catalogue)}"
            files.defaults_file.refuse(("data", "hybridmsg", "projects", name), problem)


def check_reach(files: InventoryFiles, hosts: Collection[Host], brokers: Collection[str]) -> None:
    """Record brokers (hosts of these groups) and routers at an address that only they themselves can reach."""
    if all(_LOOPBACK.fullmatch(host.address) for host in hosts):
        return
    for host in hosts:
        role = "broker" if set(host.groups) & set(brokers) else "router" if QDROUTERD in host.groups else ""
        if role and _LOOPBACK.fullmatch(host.address):
            problem = f"other hosts cannot reach a {role} at {host.address}. Give its network address"
            files.hosts_file.refuse((host.name, "hostname"), problem)


def _extra(options: ConnectionOptions, key: str) -> str:
    return str((options.extras or {}).get(key) or "")


def _blamed(file: YamlFile, path: KeyPath) -> bool:
    """Whether something around, at or below `path` is already named as wrong: what follows is no news."""
    prefix = ".".join([file.label, *map(str, path)])
    paths = [mistake.path for mistake in file.mistakes]
    return any(path.startswith(prefix) or prefix.startswith(f"{path}.") or not path for path in paths)

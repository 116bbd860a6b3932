"""Nornir's own inventory objects from the checked files: nesting and inheritance are Nornir's, not a copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from nornir.core.inventory import ConnectionOptions, Group, Groups, Hosts, Inventory, ParentGroups
from nornir.core.inventory import Defaults as NornirDefaults
from nornir.core.inventory import Host as NornirHost

from deployer.model.inventory_schema import CONNECTION, SSH_PORT, Attributes, Connections, Defaults, Element

Member = TypeVar("Member", NornirHost, Group)
_ATTRIBUTES = tuple(Attributes.model_fields)


def build_inventory(
    hosts: Mapping[str, Element], groups: Mapping[str, Element], defaults: Defaults, roles: Iterable[str]
) -> Inventory:
    """Return Nornir's inventory; a role need not be in `groups`. Groups must not form a cycle.

    Groups that are named and nowhere known are left out.
    """
    common = NornirDefaults(
        **_attributes(defaults),
        data=defaults.data.model_dump(exclude_unset=True),
        connection_options=_connections(defaults.connection_options),
    )
    elements = {**{role: Element() for role in roles}, **groups}
    all_groups = Groups({name: _member(Group, name, element, common) for name, element in elements.items()})
    all_hosts = Hosts({name: _member(NornirHost, name, element, common) for name, element in hosts.items()})
    for name, element in elements.items():
        all_groups[name].groups = _parents(element, all_groups)
    for name, element in hosts.items():
        all_hosts[name].groups = _parents(element, all_groups)
    return Inventory(hosts=all_hosts, groups=all_groups, defaults=common)


def _member(kind: type[Member], name: str, element: Element, defaults: NornirDefaults) -> Member:
    return kind(
        name,
        **_attributes(element),
        data=element.data,
        connection_options=_connections(element.connection_options),
        defaults=defaults,
    )


def _parents(element: Element, groups: Groups) -> ParentGroups:
    return ParentGroups([groups[name] for name in element.groups if name in groups])


def _attributes(source: Attributes) -> dict[str, Any]:
    return {name: getattr(source, name) for name in _ATTRIBUTES}


def _connections(options: Connections) -> dict[str, ConnectionOptions]:
    written = options.model_dump(exclude_unset=True, exclude_none=True)
    return {plugin: ConnectionOptions(**values) for plugin, values in written.items()}


def resolve_jump_hosts(inventory: Inventory) -> None:
    """Write user@address:port for each jump_host that is a host's name: a plugin sees one host only."""
    options = {name: host.get_connection_parameters(CONNECTION) for name, host in inventory.hosts.items()}
    for name, host in inventory.hosts.items():
        extras = options[name].extras or {}
        jump = options.get(str(extras.get("jump_host")))
        if jump:
            address = f"[{jump.hostname}]" if ":" in str(jump.hostname) else jump.hostname
            way = f"{jump.username}@{address}:{jump.port or SSH_PORT}"
            options[name].extras = {**extras, "jump_host": way}
            host.connection_options[CONNECTION] = options[name]


def find_cycle(groups: Mapping[str, Element]) -> list[str]:
    """Return one chain of groups that comes back to its start, like [a, b, a], or []."""

    def visit(name: str, chain: list[str]) -> list[str]:
        if name in chain:
            return [*chain[chain.index(name) :], name]
        parents = groups[name].groups if name in groups else []
        return next((cycle for parent in parents if (cycle := visit(parent, [*chain, name]))), [])

    return next((cycle for name in groups if (cycle := visit(name, []))), [])

"""The router's own view, as rows of the management protocol: connections, links, addresses, nodes, configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator

from proton import Delivery

from . import VERSION
from .config import Entity
from .links import InLink, OutLink
from .peer import Peer
from .router import Router
from .schema import ENTITY_TYPES, LONG, SECTIONS

Row = dict[str, object]
_OPERATIONAL = {
    "connection": "active adminStatus container dir host identity isAuthenticated isEncrypted name opened operStatus"
    " properties protocol role sasl ssl type uptimeSeconds user",
    "router.link": "acceptedCount adminStatus capacity connectionId creditAvailable deliveryCount"
    " droppedPresettledCount identity linkDir linkName linkType modifiedCount name operStatus owningAddr"
    " presettledCount rejectedCount releasedCount type undeliveredCount unsettledCount",
    "router.address": "deliveriesEgress deliveriesIngress deliveriesTransit distribution identity inProcess key name"
    " remoteCount remoteHostRouters subscriberCount type",
    "router.node": "address cost id identity linkState name nextHop protocolVersion routerLink type",
}
TYPES = (*ENTITY_TYPES.values(), *(LONG + name for name in _OPERATIONAL))

_OUTCOMES = {
    int(state): name
    for name, state in (
        ("accepted", Delivery.ACCEPTED),
        ("rejected", Delivery.REJECTED),
        ("released", Delivery.RELEASED),
        ("modified", Delivery.MODIFIED),
    )
}


def rows(router: Router, type_: str) -> list[Row]:
    """Return the entities of a type (its long name), each as its attributes; KeyError for a type that is none."""
    makers = {
        LONG + "connection": _connections,
        LONG + "router.link": _links,
        LONG + "router.address": _addresses,
        LONG + "router.node": _nodes,
    }
    if type_ in makers:
        found = [*makers[type_](router)]
    else:
        short = {long: short for short, long in ENTITY_TYPES.items()}[type_]
        found = [told(router, entity) for entity in router.entities if entity.type == short]
    return [{"type": type_} | row for row in found]


def attributes(type_: str, found: list[Row]) -> set[str]:
    """Return the names that a type's attributes have."""
    known = {name for row in found for name in row} | {"identity", "name", "type"}
    short = type_.removeprefix(LONG)
    if short in _OPERATIONAL:
        return known | {*_OPERATIONAL[short].split()}
    section = next(name for name, long in ENTITY_TYPES.items() if long == type_)
    return known | {*SECTIONS[section], "connectionStatus", "connectionMsg", "version"}


def configured(router: Router, type_: str, name: str, identity: str) -> Entity | None:
    """Return the entity of the configuration that a request means."""
    for entity in router.entities:
        same_type = ENTITY_TYPES.get(entity.type) == type_ or not type_
        if same_type and (entity.name == name or (identity and _identity(entity) == identity)):
            return entity
    return None


def _identity(entity: Entity) -> str:
    if entity.type in ("listener", "connector"):
        words = [entity.text(attribute) for attribute in ("host", "port", "name")]
        return f"{entity.type}/{':'.join(word for word in words if word)}"
    return f"sslProfile/{entity.name}" if entity.type == "sslProfile" else entity.name


def told(router: Router, entity: Entity) -> Row:
    """Return an entity of the configuration as management tells it."""
    row = {**entity.attributes, "identity": _identity(entity), "type": ENTITY_TYPES[entity.type]}
    if entity.type == "router":
        row |= {"id": router.id, "name": router.id, "identity": "1"}
        row |= {"version": VERSION, "area": "0", "nodeCount": len(router.mesh.reachable())}
        row |= {"connectionCount": len(router.peers), "addrCount": len(router.table.known)}
    if entity.type == "connector":
        connector = router.connectors[entity.name]
        row |= {"connectionStatus": connector.status, "connectionMsg": connector.message}
    return row


def _connections(router: Router) -> Iterator[Row]:
    for peer in router.peers:
        if peer.container:
            yield _connection(peer)


def _connection(peer: Peer) -> Row:
    transport = peer.transport
    return {
        "name": f"connection/{peer.side.other}",
        "identity": str(peer.number),
        "container": peer.container,
        "host": peer.side.other,
        "dir": peer.side.direction,
        "role": peer.side.role,
        "user": transport.user,
        "sasl": transport.sasl().mech,
        "isAuthenticated": transport.authenticated,
        "isEncrypted": transport.encrypted,
        "ssl": transport.encrypted,
        "opened": True,
        "protocol": "amqp",
        "adminStatus": "enabled",
        "operStatus": "up",
        "properties": peer.properties,
        "uptimeSeconds": int(time.monotonic() - peer.opened_at),
    }


def _links(router: Router) -> Iterator[Row]:
    for peer in router.peers:
        kind = "inter-router" if peer.side.role == "inter-router" else "endpoint"
        common = {"linkType": kind, "connectionId": str(peer.number), "adminStatus": "enabled", "operStatus": "up"}
        for entry in router.protocol.ins.get(peer, {}).values():
            yield common | _link_in(router, entry)
        for out in router.protocol.outs.get(peer, {}).values():
            yield common | _link_out(out)


def _link_in(router: Router, entry: InLink) -> Row:
    target = router.table.find(entry.text) if entry.text and not entry.address else None
    address = entry.address.key if entry.address else f"R{target}" if isinstance(target, str) else None
    return {
        "name": entry.link.name,
        "linkName": entry.link.name,
        "identity": f"{entry.peer.number}.in.{entry.link.name}",
        "linkDir": "in",
        "owningAddr": address,
        "capacity": entry.capacity,
        "undeliveredCount": 0,
        "unsettledCount": entry.unsettled,
        "deliveryCount": entry.total,
        "creditAvailable": entry.link.credit,
        "droppedPresettledCount": entry.dropped,
    }


def _link_out(out: OutLink) -> Row:
    return {
        "name": out.link.name,
        "linkName": out.link.name,
        "identity": f"{out.peer.number}.out.{out.link.name}",
        "linkDir": "out",
        "owningAddr": out.address.key if out.address else None,
        "capacity": out.peer.side.capacity,
        "undeliveredCount": out.undelivered,
        "unsettledCount": out.unsettled,
        "deliveryCount": out.total,
        "presettledCount": out.presettled,
        **{f"{name}Count": out.outcomes.get(state, 0) for state, name in _OUTCOMES.items()},
        "creditAvailable": out.link.credit,
    }


def _addresses(router: Router) -> Iterator[Row]:
    names = {*router.table.known, *("M0" + name for name in router.mesh.remote_names())}
    for key in sorted(names):
        address = router.table.known.get(key)
        remote = router.mesh.subscribers(key[2:]) if key.startswith("M0") else []
        yield {
            "name": key,
            "identity": key,
            "key": key,
            "distribution": address.distribution if address else None,
            "inProcess": int(bool(address and address.service)),
            "subscriberCount": len(address.consumers) if address else 0,
            "remoteCount": len(remote),
            "remoteHostRouters": remote,
            "deliveriesIngress": address.ingress if address else 0,
            "deliveriesEgress": address.egress if address else 0,
            "deliveriesTransit": address.transit if address else 0,
        }


def _nodes(router: Router) -> Iterator[Row]:
    if router.settings.text("mode") == "standalone":
        return
    yield _node(router, router.id, {"nextHop": "(self)"})
    for number, router_id in enumerate(sorted(router.mesh.records)):
        hop = router.mesh.toward(router_id)
        # A neighbour is known by its link, a router further away by the next one on the way there.
        way: Row = {"cost": router.mesh.cost(router_id)}
        if hop:
            way |= {"routerLink": number} if hop.id == router_id else {"nextHop": hop.id}
        yield _node(router, router_id, way)


def _node(router: Router, router_id: str, way: Row) -> Row:
    record = router.mesh.records.get(router_id)
    return way | {
        "name": f"router.node/{router_id}",
        "identity": f"router.node/{router_id}",
        "id": router_id,
        "address": f"amqp:/_topo/0/{router_id}",
        "protocolVersion": 1,
        "linkState": sorted(record.peers) if record else sorted(router.mesh.neighbours),
    }

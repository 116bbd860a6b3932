"""Where a message goes: to the router's own consumers and services, and on to the neighbours."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .addresses import Address, AddressTable
from .links import ACCEPTED, Inbound, OutLink
from .mesh import Mesh, Neighbour


@dataclass(frozen=True)
class Message:
    """An encoded message under way; `trace` has the ids of the routers that it passed."""

    to: str
    data: bytes
    trace: tuple[str, ...] = ()

    @classmethod
    def unpack(cls, packed: bytes) -> Message:
        """Return what a neighbour sent."""
        head, _, data = packed.partition(b"\n")
        to, trace = json.loads(head)
        return cls(to, data, tuple(trace))

    def pack(self, passed: str) -> bytes:
        """Return it for a neighbour, with the router that it passed."""
        return json.dumps([self.to, [*self.trace, passed]]).encode() + b"\n" + self.data


class Forwarder:
    """Chooses the links for a message, each way of distribution as qpid-dispatch's forwarder.c has it."""

    def __init__(self, router_id: str, table: AddressTable, mesh: Mesh) -> None:
        self._id = router_id
        self._table = table
        self._mesh = mesh

    def paths(self, target: Address | str) -> int:
        """Return how many ways out there are: without any, senders get no credit."""
        if isinstance(target, str):
            return 1 if self._mesh.toward(target) else 0
        remote = len(self._mesh.subscribers(target.name)) if target.mobile else 0
        return len(target.consumers) + bool(target.service) + remote

    def forward(self, message: Message, inbound: Inbound | None) -> int:
        """Send it on its way and return how many copies went out."""
        target = self._table.find(message.to)
        if target is None:
            return 0
        if isinstance(target, str):
            neighbour = self._mesh.toward(target)
            return self._hand_over([neighbour] if neighbour else [], message, inbound)
        if target.service:
            if inbound:
                inbound.expect()
            target.service(message.data)
            if inbound:
                inbound.resolve(ACCEPTED)
            return 1
        chosen = {"multicast": self._multicast, "closest": self._closest}.get(target.distribution, self._balanced)
        return chosen(target, message, inbound)

    def _multicast(self, address: Address, message: Message, inbound: Inbound | None) -> int:
        for link in [*address.consumers]:
            address.egress += 1
            link.deliver(message.data, inbound)
        # One copy for each next hop and no look at where the message came from: 1.14 to 1.19 do so, and that is why
        # three routers in a ring of equal costs bring every fanout twice.
        hops = {}
        for router_id in self._mesh.subscribers(address.name):
            neighbour = self._mesh.toward(router_id)
            if neighbour and neighbour.id not in message.trace:
                hops[neighbour.id] = neighbour
        address.transit += len(hops)
        return len(address.consumers) + self._hand_over([*hops.values()], message, inbound)

    def _closest(self, address: Address, message: Message, inbound: Inbound | None) -> int:
        if address.consumers:
            return self._serve(address, address.consumers[0], message, inbound)
        remote = [router_id for router_id in self._mesh.subscribers(address.name) if self._mesh.toward(router_id)]
        if not remote:
            return 0
        nearest = min(self._mesh.cost(router_id) for router_id in remote)
        equal = [router_id for router_id in remote if self._mesh.cost(router_id) == nearest]
        address.transit += 1
        neighbour = self._mesh.toward(equal[address.transit % len(equal)])
        return self._hand_over([neighbour] if neighbour else [], message, inbound)

    def _balanced(self, address: Address, message: Message, inbound: Inbound | None) -> int:
        best = min(address.consumers, key=lambda link: link.backlog, default=None)
        value = best.backlog if best else None
        if value == 0 and best:
            return self._serve(address, best, message, inbound)
        away = None
        for router_id in self._mesh.subscribers(address.name):
            neighbour = self._mesh.toward(router_id)
            if neighbour and neighbour.id not in message.trace:
                remote = address.under_way[neighbour.id] + self._mesh.cost(router_id)
                if value is None or remote < value:
                    value, away = remote, neighbour
        if away is None:
            return self._serve(address, best, message, inbound) if best else 0
        address.transit += 1
        return self._hand_over([away], message, inbound, address)

    def _serve(self, address: Address, link: OutLink, message: Message, inbound: Inbound | None) -> int:
        # To the end of the list with it: equals take turns.
        address.consumers.remove(link)
        address.consumers.append(link)
        address.egress += 1
        link.deliver(message.data, inbound)
        return 1

    def _hand_over(
        self, hops: list[Neighbour], message: Message, inbound: Inbound | None, counted: Address | None = None
    ) -> int:
        packed = message.pack(self._id)
        for neighbour in hops:
            if counted is None or inbound is None:
                neighbour.data.deliver(packed, inbound)
            else:
                counted.under_way[neighbour.id] += 1
                neighbour.data.deliver(packed, inbound, lambda: counted.under_way.subtract([neighbour.id]))  # noqa: B023 - one hop only
        return len(hops)

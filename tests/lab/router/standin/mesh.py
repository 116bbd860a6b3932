"""The other routers: who is next to this one, who is behind them, at what cost, and with which addresses."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .journal import Journal
from .links import OutLink
from .loop import Loop

# A change waits this long for others, so that a service's three subscriptions are told as one.
_GATHER_SECONDS = 0.2
_LINGER_SECONDS = 60.0


@dataclass(frozen=True)
class Neighbour:
    """A router at the other end of one connection: links for control and for data, and what using them costs."""

    id: str
    cost: int
    control: OutLink
    data: OutLink


@dataclass
class Record:
    """What one router tells of itself; the newest of an instance is the one with the highest number."""

    id: str
    instance: float
    number: int
    peers: dict[str, int]
    addresses: list[str]
    heard: float = field(default_factory=time.monotonic)

    def pack(self) -> bytes:
        """Return it for the neighbours."""
        return json.dumps([self.id, self.instance, self.number, self.peers, self.addresses]).encode()

    @classmethod
    def unpack(cls, packed: bytes) -> Record:
        """Return what a neighbour passed on."""
        return cls(*json.loads(packed))


class Mesh:
    """Link-state routing: every router tells all others its neighbours and addresses; each works out the paths."""

    def __init__(
        self,
        router_id: str,
        addresses: Callable[[], list[str]],
        changed: Callable[[], None],
        loop: Loop,
        journal: Journal,
    ) -> None:
        self.id = router_id
        self.neighbours: dict[str, Neighbour] = {}
        self.records: dict[str, Record] = {}
        self._addresses = addresses
        self._changed = changed
        self._loop = loop
        self._journal = journal
        self._own = Record(router_id, time.time(), 0, {}, [])
        self._paths: dict[str, tuple[int, str]] = {}
        self._costs: dict[str, int] = {}
        self._subscribers: dict[str, list[str]] = {}
        self._due = False

    def join(self, neighbour: Neighbour) -> None:
        """Take a neighbour in and tell it all that is known."""
        self.neighbours[neighbour.id] = neighbour
        for record in [*self.records.values()]:
            neighbour.control.deliver(record.pack(), None)
        self._journal.info("ROUTER_HELLO", f"HELLO neighbor {neighbour.id} is up, cost {neighbour.cost}")
        self._tell()

    def part(self, neighbour: Neighbour) -> None:
        """Let a neighbour go, unless another connection to it has taken over."""
        if self.neighbours.get(neighbour.id) is neighbour:
            del self.neighbours[neighbour.id]
            self._journal.info("ROUTER_HELLO", f"HELLO neighbor {neighbour.id} is lost")
            self._tell()

    def announce(self) -> None:
        """Tell the others, in a moment, that consumers came or went."""
        if not self._due:
            self._due = True
            self._loop.later(_GATHER_SECONDS, self._tell)

    def hear(self, packed: bytes, sender: str) -> None:
        """Take a record over, and pass it on when it is news."""
        record = Record.unpack(packed)
        known = self.records.get(record.id)
        if record.id == self.id or (known and (known.instance, known.number) >= (record.instance, record.number)):
            return
        self.records[record.id] = record
        self._flood(record, sender)
        self._work_out()

    def toward(self, router_id: str) -> Neighbour | None:
        """Return the next hop on the way to a router."""
        found = self._paths.get(router_id)
        return self.neighbours.get(found[1]) if found else None

    def cost(self, router_id: str) -> int:
        """Return what the way to a router costs, or did when there last was one."""
        return self._costs.get(router_id, 0)

    def reachable(self) -> list[str]:
        """Return the routers there is a way to, nearest first."""
        return sorted(self._paths, key=lambda router_id: (self._paths[router_id][0], router_id))

    def subscribers(self, name: str) -> list[str]:
        """Return the routers with consumers of a mobile address; one that died counts until it is forgotten."""
        return self._subscribers.get(name, [])

    def remote_names(self) -> Iterable[str]:
        """Return the mobile addresses that other routers have consumers of."""
        return self._subscribers.keys()

    def expire(self) -> None:
        """Forget what routers told that nobody has reached for a minute."""
        for router_id, record in [*self.records.items()]:
            if router_id in self._paths:
                record.heard = time.monotonic()
            elif time.monotonic() - record.heard > _LINGER_SECONDS:
                del self.records[router_id]
                self._work_out()

    def _tell(self) -> None:
        self._due = False
        own = self._own
        own.number += 1
        own.peers = {one.id: one.cost for one in self.neighbours.values()}
        own.addresses = self._addresses()
        self._flood(own, "")
        self._work_out()

    def _flood(self, record: Record, but: str) -> None:
        for neighbour in [*self.neighbours.values()]:
            if neighbour.id != but:
                neighbour.control.deliver(record.pack(), None)

    def _work_out(self) -> None:
        self._paths = self._shortest()
        self._costs.update({router_id: cost for router_id, (cost, _) in self._paths.items()})
        self._subscribers = {}
        for router_id in self.records:
            for name in self.records[router_id].addresses:
                self._subscribers.setdefault(name, []).append(router_id)
        self._changed()

    def _shortest(self) -> dict[str, tuple[int, str]]:
        """Return, by router, the cost and the first hop of the cheapest path; a link counts when both ends tell it."""
        peers = {router_id: record.peers for router_id, record in self.records.items()} | {self.id: self._own.peers}
        found: dict[str, tuple[int, str]] = {}
        heap = [(0, self.id, "")]
        while heap:
            cost, here, hop = heapq.heappop(heap)
            if here in found:
                continue
            found[here] = (cost, hop)
            for there, price in peers[here].items():
                if there not in found and here in peers.get(there, {}):
                    heapq.heappush(heap, (cost + price, there, hop or there))
        del found[self.id]
        return found

"""Links as the router sees them: those that bring deliveries in, and those that take them out."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from proton import Condition, Delivery, Link, Receiver, Sender

from .addresses import Address
from .peer import Peer

_tags = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """What became of a delivery."""

    state: int
    failed: bool = False
    undeliverable: bool = False
    condition: Condition | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> Outcome:
        """Return what the receiving end says; a settlement without an outcome is an acceptance."""
        state = int(delivery.remote_state) or int(Delivery.ACCEPTED)
        if state == Delivery.MODIFIED:
            return cls(state, bool(delivery.remote.failed), bool(delivery.remote.undeliverable))
        return cls(state, condition=delivery.remote.condition if state == Delivery.REJECTED else None)


RELEASED = Outcome(int(Delivery.RELEASED))
ACCEPTED = Outcome(int(Delivery.ACCEPTED))
LOST = Outcome(int(Delivery.MODIFIED), failed=True)


class InLink:
    """A client's, or a neighbour's, link into the router; `address` is None for an anonymous one."""

    def __init__(self, link: Receiver, peer: Peer, address: Address | None, text: str, capacity: int) -> None:
        self.link = link
        self.peer = peer
        self.address = address
        self.text = text
        self.capacity = capacity
        self.alive = True
        self.total = 0
        self.unsettled = 0
        self.dropped = 0

    def refill(self) -> None:
        """Grant what credit is missing."""
        missing = self.capacity - self.unsettled - self.link.credit
        if self.alive and missing > 0:
            self.link.flow(missing)

    def withhold(self) -> None:
        """Take credit back: nobody is there for what would come."""
        self.link.drain(0)


class Inbound:
    """An unsettled delivery that came in and waits for what becomes of its copies."""

    def __init__(self, link: InLink, delivery: Delivery) -> None:
        self._link = link
        self._delivery = delivery
        self._waiting = 0
        self._outcome: Outcome | None = None
        link.unsettled += 1

    @property
    def peer(self) -> Peer:
        """The connection it came by."""
        return self._link.peer

    @property
    def alive(self) -> bool:
        """Whether the sender is still there: qdrouterd counts the deliveries of one that left no more."""
        return self._link.alive

    def expect(self) -> None:
        """Count one more copy."""
        self._waiting += 1

    def resolve(self, outcome: Outcome) -> None:
        """Take one copy's outcome; the last one settles. One acceptance is enough for many copies."""
        self._waiting -= 1
        if self._outcome is None or outcome.state == Delivery.ACCEPTED:
            self._outcome = outcome
        if self._waiting <= 0:
            self.settle(self._outcome)

    def settle(self, outcome: Outcome, *, refill: bool = True) -> None:
        """Tell the sender, if it is still there."""
        if not self._link.alive:
            return
        self._link.unsettled -= 1
        local = self._delivery.local
        if outcome.state == Delivery.MODIFIED:
            local.failed, local.undeliverable = outcome.failed, outcome.undeliverable
        if outcome.condition:
            local.condition = outcome.condition
        self._delivery.update(outcome.state)
        self._delivery.settle()
        if refill:
            self._link.refill()


class OutLink:
    """A consumer's, or a neighbour's, link out of the router, with the deliveries that wait for its credit."""

    def __init__(self, link: Sender, peer: Peer, address: Address | None, wake: Callable[[Peer], None]) -> None:
        self.link = link
        self.peer = peer
        self.address = address
        self.total = 0
        self.presettled = 0
        self.outcomes: dict[int, int] = {}
        self._wake = wake
        self._queue: deque[tuple[bytes, Inbound | None, Callable[[], None] | None]] = deque()
        self._unsettled: dict[str, tuple[Delivery, Inbound, Callable[[], None] | None]] = {}

    @property
    def undelivered(self) -> int:
        """How many deliveries wait for credit."""
        return len(self._queue)

    @property
    def unsettled(self) -> int:
        """How many deliveries the consumer has not settled."""
        return sum(inbound.alive for _, inbound, _ in self._unsettled.values())

    @property
    def backlog(self) -> int:
        """How much is on its way to this consumer: what `balanced` compares."""
        return self.undelivered + self.unsettled

    def deliver(self, data: bytes, inbound: Inbound | None, done: Callable[[], None] | None = None) -> None:
        """Send, or keep until there is credit; `done` is called when an unsettled one has its outcome."""
        if inbound:
            inbound.expect()
        self._queue.append((data, inbound, done))
        self.pump()

    def pump(self) -> None:
        """Send what credit allows."""
        while self._queue and self.link.credit > 0:
            data, inbound, done = self._queue.popleft()
            tag = str(next(_tags))
            delivery = self.link.delivery(tag)
            self.link.send(data)
            self.link.advance()
            self.total += 1
            if inbound is None:
                self.presettled += 1
                delivery.settle()
            elif self.link.remote_snd_settle_mode == Link.SND_SETTLED:
                delivery.settle()
                self._finish(inbound, ACCEPTED, done)
            else:
                self._unsettled[tag] = (delivery, inbound, done)
        if self.link.drain_mode:
            self.link.drained()
        self._wake(self.peer)

    def settled(self, delivery: Delivery) -> None:
        """Take the consumer's outcome over."""
        if not (delivery.remote_state or delivery.settled):
            return
        found = self._unsettled.pop(delivery.tag, None)
        if found:
            outcome = Outcome.of(delivery)
            self.outcomes[outcome.state] = self.outcomes.get(outcome.state, 0) + 1
            self._finish(found[1], outcome, found[2])
        delivery.settle()

    def lose(self) -> None:
        """The consumer is gone: what was not sent is released, what was sent may have been worked on."""
        queue, self._queue = self._queue, deque()
        unsettled, self._unsettled = self._unsettled, {}
        for _, inbound, done in queue:
            if inbound:
                self._finish(inbound, RELEASED, done)
        for _, inbound, done in unsettled.values():
            self._finish(inbound, LOST, done)

    def _finish(self, inbound: Inbound, outcome: Outcome, done: Callable[[], None] | None) -> None:
        if done:
            done()
        inbound.resolve(outcome)
        self._wake(inbound.peer)

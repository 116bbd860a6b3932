"""AMQP as the router speaks it: what each event of a connection makes it do."""

from __future__ import annotations

from collections.abc import Callable

from proton import Condition, Event, Link, Receiver, Sender, Session
from proton import Message as Encoded

from . import VERSION
from .addresses import Address, AddressTable
from .forward import Forwarder, Message
from .journal import Journal
from .links import RELEASED, Inbound, InLink, OutLink
from .mesh import Mesh, Neighbour
from .peer import Peer

_CONTROL, _DATA = "standin/control", "standin/data"
_MESH_CREDIT = 10_000


class Protocol:
    """Handles the events of all connections; `ins` and `outs` are their links."""

    def __init__(
        self, table: AddressTable, mesh: Mesh, forwarder: Forwarder, journal: Journal, wake: Callable[[Peer], None]
    ) -> None:
        self.ins: dict[Peer, dict[Link, InLink]] = {}
        self.outs: dict[Peer, dict[Link, OutLink]] = {}
        self._table = table
        self._mesh = mesh
        self._forwarder = forwarder
        self._journal = journal
        self._wake = wake
        self._neighbours: dict[Peer, Neighbour] = {}
        self._handlers: dict[object, Callable[[Peer, Event], None]] = {
            Event.CONNECTION_REMOTE_OPEN: self._opened,
            Event.CONNECTION_REMOTE_CLOSE: lambda _, event: event.connection.close(),
            Event.SESSION_REMOTE_OPEN: lambda _, event: event.session.open(),
            Event.SESSION_REMOTE_CLOSE: self._session_closed,
            Event.LINK_REMOTE_OPEN: self._attached,
            Event.LINK_REMOTE_CLOSE: self._detached,
            Event.LINK_REMOTE_DETACH: self._detached,
            Event.LINK_FLOW: self._flowed,
            Event.DELIVERY: self._delivered,
        }

    def add(self, peer: Peer) -> None:
        """Take a new connection in."""
        self.ins[peer], self.outs[peer] = {}, {}
        peer.connection.container = self._mesh.id
        peer.connection.properties = {
            "product": "qpid-dispatch-router",
            "version": VERSION,
            "qd.cost": peer.side.cost,
        }

    def handle(self, peer: Peer, event: Event) -> None:
        """Do what an event asks for."""
        handler = self._handlers.get(event.type)
        if handler:
            handler(peer, event)

    def gone(self, peer: Peer) -> None:
        """Let go of all that an ended connection had."""
        neighbour = self._neighbours.pop(peer, None)
        for link in [*self.ins.get(peer, ()), *self.outs.get(peer, ())]:
            self._drop(peer, link)
        self.ins.pop(peer, None)
        self.outs.pop(peer, None)
        if neighbour:
            self._mesh.part(neighbour)

    def refresh(self) -> None:
        """Give credit to senders whose addresses somebody is there for now."""
        for links in self.ins.values():
            for link in links.values():
                if self._wanted(link):
                    link.refill()
                    self._wake(link.peer)

    def _opened(self, peer: Peer, event: Event) -> None:
        connection, transport, side = event.connection, event.transport, peer.side
        peer.container = connection.remote_container or ""
        peer.properties = {str(key): value for key, value in (connection.remote_properties or {}).items()}
        connection.open()
        self._journal.info(
            "ROUTER_CORE",
            f"[C{peer.number}] Connection Opened: dir={side.direction} host={side.other} user={transport.user}"
            f" container_id={peer.container} role={side.role}",
        )
        if side.role == "inter-router":
            self._join(peer)

    def _join(self, peer: Peer) -> None:
        if peer.container == self._mesh.id:
            peer.close("amqp:connection:forced", f"two routers with the id {peer.container}")
            return
        session = peer.connection.session()
        session.open()
        control, data = (self._mesh_link(peer, session, name) for name in (_CONTROL, _DATA))
        price = peer.properties.get("qd.cost")
        cost = max(peer.side.cost, price if isinstance(price, int) else 1)
        self._neighbours[peer] = Neighbour(peer.container, cost, control, data)
        self._mesh.join(self._neighbours[peer])

    def _mesh_link(self, peer: Peer, session: Session, name: str) -> OutLink:
        link = session.sender(f"{name}/{self._mesh.id}")
        link.target.address = name
        link.open()
        out = self.outs[peer][link] = OutLink(link, peer, None, self._wake)
        return out

    def _attached(self, peer: Peer, event: Event) -> None:
        link = event.link
        if link in self.outs[peer]:  # a mesh link of our own, answered
            return
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        if isinstance(link, Receiver):
            self._attach_in(peer, link)
        else:
            self._attach_out(peer, link)

    def _attach_in(self, peer: Peer, link: Receiver) -> None:
        text = link.remote_target.address or ""
        if peer.side.role == "inter-router":
            entry = InLink(link, peer, None, text, _MESH_CREDIT)
        else:
            address = self._table.find(text) if text else None
            entry = InLink(link, peer, address if isinstance(address, Address) else None, text, peer.side.capacity)
            if entry.address:
                entry.address.senders.append(entry)
                self._table.keep(entry.address)
        self.ins[peer][link] = entry
        link.open()
        if self._wanted(entry):
            entry.refill()

    def _attach_out(self, peer: Peer, link: Sender) -> None:
        if link.remote_source.dynamic:
            text, address = self._table.make_dynamic()
            link.source.address = text
        else:
            found = self._table.find(link.remote_source.address or "")
            if not isinstance(found, Address):
                self._refuse(link, f"no consumer can be at {link.remote_source.address!r}")
                return
            address = found
        out = self.outs[peer][link] = OutLink(link, peer, address, self._wake)
        address.consumers.append(out)
        self._table.keep(address)
        link.open()
        self._changed(address)

    def _refuse(self, link: Link, why: str) -> None:
        link.source.type = link.target.type = 0
        link.open()
        link.condition = Condition("amqp:not-allowed", why)
        link.close()

    def _wanted(self, link: InLink) -> bool:
        if link.peer.side.role == "inter-router" or not link.text:
            return True
        target = self._table.find(link.text)
        return target is not None and self._forwarder.paths(target) > 0

    def _changed(self, address: Address) -> None:
        if address.mobile:
            self._mesh.announce()
        if len(address.consumers) == 1:
            for sender in address.senders:
                sender.refill()
                self._wake(sender.peer)

    def _detached(self, peer: Peer, event: Event) -> None:
        link = event.link
        self._drop(peer, link)
        if event.type is Event.LINK_REMOTE_DETACH:
            link.detach()
        else:
            link.close()
        link.free()

    def _session_closed(self, peer: Peer, event: Event) -> None:
        for link in [*self.ins[peer], *self.outs[peer]]:
            if link.session == event.session:
                self._drop(peer, link)
        event.session.close()
        event.session.free()

    def _drop(self, peer: Peer, link: Link) -> None:
        entry = self.ins[peer].pop(link, None)
        if entry:
            entry.alive = False
            if entry.address:
                entry.address.senders.remove(entry)
                self._table.release(entry.address)
        out = self.outs[peer].pop(link, None)
        if out:
            if out.address:
                out.address.consumers.remove(out)
                self._table.release(out.address)
                if out.address.mobile:
                    self._mesh.announce()
            out.lose()

    def _flowed(self, peer: Peer, event: Event) -> None:
        out = self.outs[peer].get(event.link)
        if out:
            out.pump()
        entry = self.ins[peer].get(event.link)
        if entry and self._wanted(entry):
            entry.refill()

    def _delivered(self, peer: Peer, event: Event) -> None:
        delivery, link = event.delivery, event.link
        out = self.outs[peer].get(link)
        if out:
            if delivery.updated:
                out.settled(delivery)
            return
        entry = self.ins[peer].get(link)
        if entry is None or not delivery.readable or (delivery.partial and not delivery.aborted):
            return
        data = b"" if delivery.aborted else link.recv(delivery.pending) or b""
        # A connection that broke may leave a delivery without its bytes, which would end a client of pyngus.
        aborted, settled = delivery.aborted or not data, delivery.settled
        link.advance()
        entry.total += 1
        if aborted or settled:
            delivery.settle()
        if aborted:
            entry.refill()
            return
        self._forward(entry, data, None if settled else Inbound(entry, delivery))

    def _forward(self, entry: InLink, data: bytes, inbound: Inbound | None) -> None:
        peer = entry.peer
        if entry.text == _CONTROL and peer in self._neighbours:
            self._mesh.hear(data, self._neighbours[peer].id)
            entry.refill()
            return
        message = Message.unpack(data) if entry.text == _DATA else Message(entry.text or _to(data), data)
        if entry.address:
            entry.address.ingress += 1
        sent = self._forwarder.forward(message, inbound)
        targeted = bool(entry.text) and entry.text != _DATA
        if sent == 0:
            entry.dropped += inbound is None
            if inbound:
                inbound.settle(RELEASED, refill=not targeted)
            if targeted:
                entry.withhold()
        if sent or not targeted:
            entry.refill()


def _to(data: bytes) -> str:
    message = Encoded()
    message.decode(data)
    return message.address or ""

"""The router: its configuration come to life, and what can be changed while it runs."""

from __future__ import annotations

import socket

from proton import Event, Transport

from . import VERSION
from .addresses import AddressTable
from .config import ConfigError, Entity
from .doors import Connector, Listener, password
from .forward import Forwarder
from .journal import Journal
from .loop import Loop
from .mesh import Mesh
from .peer import Peer, Side
from .protocol import Protocol

_TICK_SECONDS = 0.5


class Router:
    """One router; `entities` are its configuration, from the file and from management."""

    def __init__(self, entities: list[Entity], journal: Journal) -> None:
        self.entities: list[Entity] = []
        self.running = False
        self.settings = next(entity for entity in entities if entity.type == "router")
        self.id = self.settings.text("id") or f"{socket.gethostname()}.{id(self):x}"
        self.loop = Loop()
        self.journal = journal
        self.peers: list[Peer] = []
        self.listeners: dict[str, Listener] = {}
        self.connectors: dict[str, Connector] = {}
        self.table = AddressTable(self.id, self.settings.text("defaultDistribution"))
        self.mesh = Mesh(self.id, self.table.subscribed, self._mesh_changed, self.loop, journal)
        self.forwarder = Forwarder(self.id, self.table, self.mesh)
        self._dirty: set[Peer] = set()
        self.protocol = Protocol(self.table, self.mesh, self.forwarder, journal, self._dirty.add)
        journal.write("ROUTER", "notice", f"stand-in for qdrouterd, test equipment: version {VERSION}, id {self.id}")
        for entity in sorted(entities, key=lambda one: one.type in ("listener", "connector")):
            self.add(entity)

    def run(self) -> None:
        """Serve until the loop is stopped."""
        self.running = True
        self._tick()
        self.loop.run(self._pump_dirty)

    def add(self, entity: Entity) -> None:
        """Bring an entity to life; raises OSError for an address that cannot be listened on, ConfigError."""
        if entity.type == "listener" and not entity.flag("http"):
            self._listen(entity)
        if entity.type == "connector":
            self.connectors[entity.name] = self._connect(entity)
        if entity.type == "address":
            self.table.configured[entity.name] = entity
        if entity.type == "log":
            self.journal.configure(entity)
        self.entities.append(entity)

    def remove(self, entity: Entity) -> None:
        """End an entity; raises ConfigError for one that stays as long as the router."""
        if entity.type == "listener":
            if listener := self.listeners.pop(entity.name, None):
                listener.close()
        elif entity.type == "connector":
            self.connectors.pop(entity.name).close()
        elif entity.type == "address":
            self.table.configured.pop(entity.name)
        elif entity.type != "sslProfile":
            raise ConfigError(f"Operation 'DELETE' is not allowed for {entity.type}")
        self.entities.remove(entity)

    def _listen(self, entity: Entity) -> None:
        sasl = (self.settings.text("saslConfigDir"), self.settings.text("saslConfigName"))
        try:
            listener = Listener(entity, self._profiles(), sasl, self.loop, self.journal, self._admit)
        except OSError as error:
            where = f"{entity.text('host')}:{entity.text('port')}"
            self.journal.write("SERVER", "error", f"Listener error on {where}: {error.strerror}")
            # One made while it runs is taken all the same: qdrouterd finds out after it has answered.
            if not self.running:
                raise
        else:
            self.listeners[entity.name] = listener

    def _connect(self, entity: Entity) -> Connector:
        secret = entity.text("saslPassword")
        try:
            word = password(secret) if secret else ""
        except OSError as error:
            self.journal.write("CONN_MGR", "error", f"connector {entity.name}: {error}")
            word = ""
        return Connector(entity, self._profiles(), self.loop, self.journal, self._admit, word)

    def _profiles(self) -> dict[str, Entity]:
        return {entity.name: entity for entity in self.entities if entity.type == "sslProfile"}

    def _admit(self, sock: socket.socket, transport: Transport, side: Side) -> Peer:
        peer = Peer(sock, transport, side, self.loop, self._handle, self._gone)
        self.protocol.add(peer)
        self.peers.append(peer)
        if side.direction == "out":
            peer.connection.open()
        return peer

    def _handle(self, peer: Peer, event: Event) -> None:
        if event.type is Event.CONNECTION_REMOTE_OPEN and peer.side.direction == "out":
            connector = self.connectors.get(peer.side.door)
            if connector:
                connector.opened()
        self.protocol.handle(peer, event)

    def _gone(self, peer: Peer, reason: str) -> None:
        self._dirty.discard(peer)
        self.peers.remove(peer)
        self.protocol.gone(peer)
        side = peer.side
        if side.direction == "in":
            way = "closed" if not reason else f"failed: {reason}"
            self.journal.info("SERVER", f"[C{peer.number}] Connection from {side.other} (to {side.door}) {way}")
        elif connector := self.connectors.get(side.door):
            connector.lost(reason)

    def _mesh_changed(self) -> None:
        self.protocol.refresh()

    def _pump_dirty(self) -> None:
        while self._dirty:
            self._dirty.pop().pump()

    def _tick(self) -> None:
        for peer in [*self.peers]:
            peer.tick()
        self.mesh.expire()
        self.loop.later(_TICK_SECONDS, self._tick)

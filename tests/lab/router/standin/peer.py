"""One AMQP connection: moves bytes between its socket and proton's engine, and hands the engine's events on."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from proton import Collector, Condition, Connection, Event, Transport, TransportException

from .loop import Loop

_CHUNK = 65536


@dataclass(frozen=True)
class Side:
    """What a listener or connector makes of its connections."""

    role: str
    direction: str
    door: str
    cost: int
    capacity: int
    other: str


class Peer:
    """A connection at work; `gone` is called once when it ends, with the reason or ""."""

    _count = 0

    def __init__(
        self,
        sock: socket.socket,
        transport: Transport,
        side: Side,
        loop: Loop,
        handle: Callable[[Peer, Event], None],
        gone: Callable[[Peer, str], None],
    ) -> None:
        Peer._count += 1
        self.number = Peer._count
        self.side = side
        self.transport = transport
        self.connection = Connection()
        self.container = ""
        self.properties: dict[str, object] = {}
        self.opened_at = time.monotonic()
        self.ended = False
        self._sock = sock
        self._loop = loop
        self._handle = handle
        self._gone = gone
        self._collector = Collector()
        self._writing = False

    def start(self) -> None:
        """Begin to talk; transport and connection are set up by now."""
        self.connection.collect(self._collector)
        self.transport.bind(self.connection)
        self._loop.watch(self._sock, selectors.EVENT_READ, self._ready)
        self.pump()

    def close(self, name: str = "", description: str = "") -> None:
        """Close the connection as AMQP does, with a condition when there is one to tell."""
        if name:
            self.connection.condition = Condition(name, description)
        self.connection.close()
        self.pump()

    def tick(self) -> None:
        """Send heartbeats that are due, and end a connection whose peer is silent for too long."""
        if not self.ended:
            self.transport.tick(time.monotonic())
            self.pump()

    def pump(self) -> None:
        """Handle the engine's events and send what they led to."""
        if self.ended:
            return
        self._handle_events()
        self._send()
        self._handle_events()
        if not self.ended and self.transport.closed:
            self._end()

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._receive()
        self.pump()

    def _receive(self) -> None:
        try:
            room = self.transport.capacity()
            if room <= 0:
                return
            data = self._sock.recv(min(room, _CHUNK))
            if data:
                self.transport.push(data)
            else:
                self.transport.close_tail()
        except BlockingIOError:
            return
        except (OSError, TransportException):
            self._close_both()

    def _send(self) -> None:
        try:
            while (size := self.transport.pending()) > 0:
                data = self.transport.peek(min(size, _CHUNK))
                if not data:
                    break
                self.transport.pop(self._sock.send(data))
            blocked = False
        except BlockingIOError:
            blocked = True
        except (OSError, TransportException):
            self._close_both()
            blocked = False
        if blocked != self._writing and not self.ended:
            self._writing = blocked
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._loop.watch(self._sock, both if blocked else selectors.EVENT_READ, self._ready)

    def _close_both(self) -> None:
        with contextlib.suppress(TransportException):
            self.transport.close_tail()
        with contextlib.suppress(TransportException):
            self.transport.close_head()

    def _handle_events(self) -> None:
        while not self.ended and (event := self._collector.peek()):
            self._handle(self, event)
            self._collector.pop()

    def _end(self) -> None:
        self.ended = True
        self._loop.forget(self._sock)
        self._sock.close()
        condition = self.transport.condition
        self._gone(self, f"{condition.name}: {condition.description}" if condition else "")
        self._collector.release()
        self.transport.unbind()

"""The event loop: sockets that are ready, timers that are due."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable

Action = Callable[[], None]


class Timer:
    """A call to come; `cancel` makes it none."""

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        """Have it not called."""
        self.action = None


class Loop:
    """Calls whoever waits for a socket or for a moment, one after the other in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self.stopped = False

    def watch(self, sock: socket.socket, events: int, action: Callable[[int], None]) -> None:
        """Have action called with the events (selectors.EVENT_READ, EVENT_WRITE) whenever the socket is ready."""
        if sock in self._selector.get_map():
            self._selector.modify(sock, events, action)
        else:
            self._selector.register(sock, events, action)

    def forget(self, sock: socket.socket) -> None:
        """Watch the socket no longer."""
        if sock.fileno() >= 0 and sock in self._selector.get_map():
            self._selector.unregister(sock)

    def later(self, seconds: float, action: Action) -> Timer:
        """Have action called once after the seconds."""
        timer = Timer(action)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def run(self, between: Action) -> None:
        """Serve until `stopped`; `between` is called after each round, before waiting again."""
        while not self.stopped:
            between()
            for key, events in self._selector.select(self._patience()):
                key.data(events)
            self._call_due()

    def _patience(self) -> float:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else 1.0

    def _call_due(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            timer = heapq.heappop(self._timers)[2]
            if timer.action:
                timer.action()

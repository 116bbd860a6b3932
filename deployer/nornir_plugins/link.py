"""The byte streams of one exec channel, each wait with an end; paramiko's reads wait for one stream only."""

from __future__ import annotations

import select
import threading
import time

import paramiko

_CHUNK = 1 << 16
_TAIL = 8192
# How long the rest of the output may take after the exit: a child that lives on may hold the stream open.
_AFTER_EXIT = 1.0
_CHECK_EXIT = 5.0


class Link:
    """Bytes to the program and from it; `noise` is the end of what it wrote to stderr (at most 8 KiB)."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._writing = threading.Lock()
        self._noise = bytearray()
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self.torn = False

    @property
    def noise(self) -> str:
        """The end of stderr as text."""
        self._drain_stderr()
        return self._noise.decode(errors="replace").strip()

    @property
    def exit_status(self) -> int | None:
        """The program's exit status, None when it is not told soon after the end of the streams."""
        told = self._channel.status_event.wait(_AFTER_EXIT)
        return self._channel.exit_status if told else None

    @property
    def open(self) -> bool:
        """Whether the far end can still be spoken to."""
        return not (
            self.torn or self._channel.closed or self._channel.eof_received or self._channel.exit_status_ready()
        )

    def send(self, data: bytes, ends_at: float) -> None:
        """Send all of `data` before `ends_at` (monotonic seconds); raises TimeoutError, OSError."""
        view = memoryview(data)
        with self._writing:
            try:
                while view:
                    self._channel.settimeout(max(ends_at - time.monotonic(), 0.01))
                    view = view[self._channel.send(bytes(view[:_CHUNK])) :]
            except (OSError, EOFError):
                # Half a frame may be under way: nothing that follows could be understood.
                self.torn = True
                raise

    def receive(self, ends_at: float) -> bytes:
        """Return what has come, one byte or more; raises EOFError at the end, TimeoutError at `ends_at`."""
        while True:
            ended = bool(self._channel.eof_received) or self._channel.closed
            exited = self._channel.exit_status_ready()
            self._drain_stderr()
            if self._channel.recv_ready():
                return self._channel.recv(_CHUNK)
            now = time.monotonic()
            if ended:
                raise EOFError
            if now >= ends_at:
                raise EOFError if exited else TimeoutError
            if exited:
                ends_at = min(ends_at, now + _AFTER_EXIT)
            self._poll.poll(1000 * min(ends_at - now, _CHECK_EXIT))

    def finish(self, timeout: float) -> None:
        """Tell the program that no more comes and wait at most `timeout` seconds for its exit."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            return
        self._channel.status_event.wait(timeout)

    def _drain_stderr(self) -> None:
        while self._channel.recv_stderr_ready():
            self._noise += self._channel.recv_stderr(_CHUNK)
            del self._noise[:-_TAIL]

"""The controller's two pipes: a thread reads requests, and no answer ever blocks a step for good."""

from __future__ import annotations

import os
import queue
import select
import threading
from typing import Any

from deployer.agent.errors import RefusedError
from deployer.agent.frames import Decoder, encode

PIECE = 4096  # bytes: a writable pipe takes PIPE_BUF bytes at once without blocking (pipe(7))
LOOK_UP = 0.2  # seconds between looks at `gone` while the controller takes nothing


class Channel:
    """`requests` yields messages and at the end None; `gone` is set when the controller is."""

    def __init__(self, stdin: int, stdout: int, silence: float) -> None:
        self.requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.gone = threading.Event()
        self._silence = silence
        self._deaf = False
        self._in, self._out = _private(stdin), _private(stdout)
        threading.Thread(target=self._receive, daemon=True).start()

    def leave(self) -> None:
        """Take no more requests; the step in hand goes on to its end. Safe in a signal handler."""
        self.gone.set()
        self.requests.put(None)

    def send(self, message: dict[str, Any]) -> None:
        """Send one frame; that the controller is gone or takes nothing is no error of the step in hand."""
        try:
            self._write(memoryview(encode(message)))
        except OSError:
            self._deaf = True

    def _write(self, data: memoryview) -> None:
        while data and not self._deaf:
            if select.select([], [self._out], [], LOOK_UP)[1]:
                data = data[os.write(self._out, data[:PIECE]) :]
            else:
                self._deaf = self.gone.is_set()

    def _receive(self) -> None:
        decoder = Decoder()
        try:
            while select.select([self._in], [], [], self._silence)[0]:
                data = os.read(self._in, 65536)
                if not data:
                    return
                for message in decoder.feed(data):
                    if message.get("id") != 0:
                        self.requests.put(message)
        except (OSError, RefusedError):
            return
        finally:
            self.leave()


def _private(descriptor: int) -> int:
    """Keep the pipe under a number that no child inherits and put /dev/null in its place."""
    kept = os.dup(descriptor)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)
    return kept

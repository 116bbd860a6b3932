"""An end for what paramiko waits for without one: the answer to an exec request, room in a full socket.

A transport that is closed ends every wait on it, in whichever thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

GRACE = 5.0
"""Seconds that waits with an end of their own have beyond it: they leave the connection as it is."""


@contextmanager
def closed_after(transport: paramiko.Transport, seconds: float) -> Iterator[None]:
    """Close the transport when this takes `seconds` and GRACE longer."""
    watchdog = threading.Timer(seconds + GRACE, transport.close)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()

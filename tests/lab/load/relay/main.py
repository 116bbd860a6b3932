"""The programs: relay-conductor, relay-api and relay-ask, with the words that oslo.config takes (--config-file ...)."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from . import api, ask, conductor
from .settings import load

_PATIENCE = 8.0  # seconds: a driver may wait for ever for a broker that is gone, and nobody would end it
_ROLES = {"relay-conductor": conductor.serve, "relay-api": api.ask, "relay-ask": ask.ask}


def main(program: str) -> None:
    """Run one role until SIGTERM; what is in hand is ended first."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    ended = threading.Event()

    def end(_number: int, _frame: object) -> None:
        late = threading.Timer(_PATIENCE, os._exit, (0,))
        late.daemon = True
        late.start()
        ended.set()

    signal.signal(signal.SIGTERM, end)
    _ROLES[program](load(program, sys.argv[1:]), ended)
    # Threads of the drivers may still wait for a broker; there is nothing left for them to do.
    os._exit(0)

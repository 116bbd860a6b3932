"""relay-ask: one call to the conductor of each host that RELAY_ASK names, over the bus that the file names today."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import oslo_messaging

from .settings import client


def ask(conf: Any, ended: threading.Event) -> None:
    """Ask each of them, and end with 1 when any does not answer; `ended` is nothing that so short a program needs."""
    del ended
    silent = [host for host in os.environ["RELAY_ASK"].split() if not _answers(conf, host)]
    if silent:
        sys.stderr.write(f"no answer from {' '.join(silent)}\n")
        os._exit(1)


def _answers(conf: Any, host: str) -> bool:
    try:
        found = (
            client(conf, timeout=conf.relay.timeout).prepare(server=host).call({}, "echo", id=f"ask-{host}", value=host)
        )
    except oslo_messaging.MessagingException as error:
        sys.stderr.write(f"{host}: {type(error).__name__}: {error}\n")
        return False
    return bool(found == host)

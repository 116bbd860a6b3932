"""relay-conductor: the RPC server. Writes down the id of everything that it carried out."""

from __future__ import annotations

import threading
import time
from typing import Any

import oslo_messaging

from .log import Log
from .settings import TOPIC


class Conductor:
    """The endpoint; each method is told the id that the caller gave what it asks for."""

    target = oslo_messaging.Target(version="1.0")

    def __init__(self, log: Log) -> None:
        self._log = log

    def echo(self, context: dict[str, Any], id: str, value: str) -> str:  # noqa: A002, ARG002 - as it is sent
        """Return the value."""
        self._log.write(did="echo", id=id)
        return value

    def slow(self, context: dict[str, Any], id: str, seconds: float) -> float:  # noqa: A002, ARG002 - as it is sent
        """Work for so many seconds."""
        time.sleep(seconds)
        self._log.write(did="slow", id=id)
        return seconds

    def note(self, context: dict[str, Any], id: str, kind: str) -> None:  # noqa: A002, ARG002 - as it is sent
        """Take a cast or a fanout: nobody waits for it."""
        self._log.write(did=kind, id=id)


def serve(conf: Any, ended: threading.Event) -> None:
    """Serve until `ended`, then finish what was begun."""
    transport = oslo_messaging.get_rpc_transport(conf)
    target = oslo_messaging.Target(topic=TOPIC, server=conf.host)
    endpoint = Conductor(Log(conf.relay.logs, "conductor"))
    server = oslo_messaging.get_rpc_server(transport, target, [endpoint], executor="threading")
    server.start()
    ended.wait()
    server.stop()
    server.wait()

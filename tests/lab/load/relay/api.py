"""relay-api: the caller. Calls, casts and notifies at a steady rate and writes down how each ended."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from typing import Any

import oslo_messaging

from .log import Log
from .settings import client


class Api:
    """Asks the conductors for one thing after another."""

    def __init__(self, conf: Any) -> None:
        self._slow = conf.relay.slow
        self._log = Log(conf.relay.logs, "api")
        self._one = client(conf, timeout=conf.relay.timeout)
        self._all = client(conf, fanout=True, timeout=conf.relay.timeout)
        notifications = oslo_messaging.get_notification_transport(conf)
        self._notifier = oslo_messaging.Notifier(notifications, publisher_id=f"relay.{conf.host}")
        kinds = {
            "call": self._call,
            "cast": self._cast,
            "notify": self._notify,
            "slow": self._slow_call,
            "fanout": self._fanout,
        }
        self._kinds = itertools.cycle(kinds.items())

    def next(self) -> None:
        """Do one thing and write down whether it went well, and how long it took."""
        kind, act = next(self._kinds)
        one, began, error = uuid.uuid4().hex, time.monotonic(), ""
        try:
            act(one)
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is an outcome to be counted
            error = f"{type(problem).__name__}: {problem}"[:200]
        self._log.write(kind=kind, id=one, ok=not error, took=round(time.monotonic() - began, 3), error=error)

    def _call(self, one: str) -> None:
        if self._one.call({}, "echo", id=one, value=one) != one:
            raise ValueError("the answer is another's")

    def _slow_call(self, one: str) -> None:
        self._one.call({}, "slow", id=one, seconds=self._slow)

    def _cast(self, one: str) -> None:
        self._one.cast({}, "note", id=one, kind="cast")

    def _fanout(self, one: str) -> None:
        self._all.cast({}, "note", id=one, kind="fanout")

    def _notify(self, one: str) -> None:
        self._notifier.info({}, "relay.tick", {"id": one})


def ask(conf: Any, ended: threading.Event) -> None:
    """Ask at the configured rate until `ended`; what is begun is waited for."""
    api = Api(conf)
    while not ended.wait(1 / conf.relay.rate):
        api.next()

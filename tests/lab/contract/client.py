"""AMQP clients on a lab host, as tests speak to them; actor.py is what runs there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tests.lab import Lab
from tests.lab.contract.routers import USERS

_ACTOR = Path(__file__).with_name("actor.py")
_REMOTE = "/root/contract-actor.py"
PASSWORD = USERS["nova"]
LONG = "org.apache.qpid.dispatch."


@dataclass(frozen=True)
class Answer:
    """What the management protocol answered: AMQP management's status code, its text, its body."""

    status: int | None
    text: str | None
    body: Any


class Actor:
    """One client process on a host."""

    def __init__(self, lab: Lab, host: str) -> None:
        lab.write(host, _REMOTE, _ACTOR.read_bytes())
        pipe = subprocess.PIPE
        self._process = lab.popen(host, ["python3", _REMOTE], stdin=pipe, stdout=pipe)
        self._names = 0

    def kill(self) -> None:
        """End it as a power cut does."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def connect(
        self, url: str, user: str = "nova@openstack", password: str = PASSWORD, ca: str | None = None
    ) -> Client:
        """Return a connection; raises AssertionError when the router does not let the user in."""
        client, refused = self._connect(url, user, password, ca)
        assert refused is None, refused
        return client

    def refusal(
        self, url: str, user: str = "nova@openstack", password: str = PASSWORD, ca: str | None = None
    ) -> str | None:
        """Return why the router does not let the user in, None when it does."""
        client, refused = self._connect(url, user, password, ca)
        if refused is None:
            client.close()
        return refused

    def received(
        self, *subscriptions: Subscription, count: int, timeout: float = 10, quiet: float = 0.3
    ) -> list[list[str]]:
        """Return the bodies that came at each subscription: `count` are waited for, then a moment for any more."""
        names = [one.name for one in subscriptions]
        answer = self.ask(do="received", names=names, count=count, timeout=timeout, quiet=quiet)
        return cast("list[list[str]]", answer["bodies"])

    def name(self) -> str:
        """Return a name that no other connection or subscription of this process has."""
        self._names += 1
        return f"contract-{self._process.pid}-{self._names}"

    def ask(self, **command: Any) -> dict[str, Any]:
        """Have a command carried out and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the client ended while it was to {command['do']}"
        return cast("dict[str, Any]", json.loads(line))

    def _connect(self, url: str, user: str, password: str, ca: str | None) -> tuple[Client, str | None]:
        name = self.name()
        answer = self.ask(do="connect", name=name, url=url, user=user, password=password, ca=ca)
        return Client(self, name), answer["refused"]


@dataclass(frozen=True)
class Subscription:
    """A receiving link and the address that it has at the router."""

    actor: Actor
    name: str
    address: str

    def received(self, count: int, timeout: float = 10, quiet: float = 0.0) -> list[str]:
        """Return the bodies that came."""
        return self.actor.received(self, count=count, timeout=timeout, quiet=quiet)[0]

    def close(self) -> None:
        """Detach it."""
        self.actor.ask(do="unsubscribe", name=self.name)


@dataclass(frozen=True)
class Client:
    """One connection to a router."""

    actor: Actor
    name: str

    def subscribe(self, address: str | None, manner: str = "accept", credit: int = 100) -> Subscription:
        """Attach a receiving link; without an address the router makes one. `manner`: see actor.Subscription."""
        name = self.actor.name()
        answer = self.actor.ask(do="subscribe", name=name, on=self.name, address=address, credit=credit, manner=manner)
        return Subscription(self.actor, name, answer["address"])

    def send(
        self, address: str, *bodies: str, settled: bool = False, anonymous: bool = False, timeout: float = 5
    ) -> list[str]:
        """Send and return each outcome: accepted, released, modified, rejected, pending, "no credit", or "sent"."""
        messages = [{"address": address, "body": body} for body in bodies]
        target = None if anonymous else address
        answer = self.actor.ask(
            do="send", on=self.name, address=target, messages=messages, timeout=timeout, settled=settled
        )
        return cast("list[str]", answer["outcomes"])

    def call(self, address: str, body: str, timeout: float = 5) -> str | None:
        """Return the answer to a request with a dynamic reply address, None when there is none."""
        answer = self.actor.ask(do="request", on=self.name, address=address, properties={}, body=body, timeout=timeout)
        return cast("str | None", answer["body"])

    def manage(
        self, operation: str, body: dict[str, Any] | None = None, to: str = "$management", **words: str
    ) -> Answer:
        """Carry out an operation of the management protocol; `type` and `entityType` may be short."""
        properties = {key: LONG + word if key in ("type", "entityType") else word for key, word in words.items()}
        properties["operation"] = operation
        answer = self.actor.ask(
            do="request", on=self.name, address=to, properties=properties, body=body or {}, timeout=8.0
        )
        return Answer(answer["status"], answer["text"], answer["body"])

    def rows(self, entity_type: str, *names: str, to: str = "$management") -> list[dict[str, Any]]:
        """Return the entities of a type, each as the attributes named."""
        answer = self.manage("QUERY", {"attributeNames": [*names]}, to=to, entityType=entity_type)
        assert answer.status == 200, answer.text
        return [dict(zip(answer.body["attributeNames"], row, strict=True)) for row in answer.body["results"]]

    def connected(self) -> bool:
        """Return whether the router has left the connection open."""
        return bool(self.actor.ask(do="connected", name=self.name)["connected"])

    def close(self) -> None:
        """Close the connection."""
        self.actor.ask(do="close", name=self.name)

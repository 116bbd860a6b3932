"""An AMQP client run on a lab host: one JSON command a line on stdin, one JSON answer a line on stdout.

It speaks Debian's proton and keeps its connections and subscriptions between commands; see client.py, its other end.
"""

from __future__ import annotations

import json
import select
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from proton import Delivery, Endpoint, Message, SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import AtLeastOnce, AtMostOnce, Container

_STATES = {Delivery.ACCEPTED: "accepted", Delivery.REJECTED: "rejected", Delivery.RELEASED: "released"}
_STATES[Delivery.MODIFIED] = "modified"
_POLL_SECONDS = 0.01


def _name() -> str:
    # Proton would name two links to one address alike, and the second would take the first one's place.
    return str(uuid.uuid4())


class Subscription(MessagingHandler):  # type: ignore[misc]  # proton has no types where these are checked
    """A receiving link; `manner` is what it does with a message: accept, release, hold, or echo to reply_to."""

    def __init__(self, manner: str) -> None:
        super().__init__(prefetch=0, auto_accept=False)
        self.manner = manner
        self.link: Any = None
        self.got: list[Any] = []

    def on_message(self, event: Any) -> None:
        """Keep the message and settle it in the chosen manner."""
        self.got.append(event.message)
        if self.manner == "echo":
            answer = Message(body=event.message.body, correlation_id=event.message.correlation_id)
            to, option = event.message.reply_to, AtMostOnce()
            event.container.create_sender(event.connection, to, name=_name(), options=option).answer = answer
        if self.manner in ("accept", "echo"):
            self.accept(event.delivery)
        elif self.manner == "release":
            self.release(event.delivery, delivered=False)
        if self.manner != "hold":
            event.receiver.flow(1)


class Actor(MessagingHandler):  # type: ignore[misc]  # see above
    """All connections of one process, and what has become of them."""

    def __init__(self) -> None:
        super().__init__(prefetch=0, auto_accept=False)
        self.container = Container(self)
        self.container.timeout = _POLL_SECONDS
        self.container.start()
        self.container.schedule(86400, self)  # one with nothing to wait for ends
        self.connections: dict[str, Any] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.failures: dict[Any, str] = {}

    def on_transport_error(self, event: Any) -> None:
        """Note why a connection could not be had, or ended."""
        condition = event.transport.condition
        self.failures[event.connection] = f"{condition.name}: {condition.description}" if condition else "closed"

    def on_connection_error(self, event: Any) -> None:
        """Note that the router closed the connection."""
        condition = event.connection.remote_condition
        self.failures[event.connection] = f"{condition.name}: {condition.description}" if condition else "closed"

    def on_disconnected(self, event: Any) -> None:
        """Note that the connection is gone."""
        self.failures.setdefault(event.connection, "disconnected")

    def on_sendable(self, event: Any) -> None:
        """Send the one answer that an echo's link was made for."""
        answer = getattr(event.sender, "answer", None)
        if answer is not None:
            event.sender.answer = None
            event.sender.send(answer)

    def wait(self, done: Callable[[], Any], seconds: float) -> bool:
        """Work on all connections until `done` tells so; False when the seconds pass first."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                return False
            self.container.process()
        return True

    def connect(self, name: str, url: str, user: str, password: str, ca: str | None) -> dict[str, Any]:
        """Open a connection; answers why when it is refused."""
        domain = None
        if ca:
            domain = SSLDomain(SSLDomain.MODE_CLIENT)
            domain.set_trusted_ca_db(ca)
            domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        self.container.container_id = name
        connection = self.container.connect(
            url, user=user, password=password, allowed_mechs="PLAIN", reconnect=False, ssl_domain=domain, heartbeat=20
        )
        opened = Endpoint.LOCAL_ACTIVE | Endpoint.REMOTE_ACTIVE
        self.wait(lambda: connection.state == opened or connection in self.failures, 10)
        if connection.state == opened and connection not in self.failures:
            self.connections[name] = connection
            return {"refused": None}
        connection.close()
        return {"refused": self.failures.get(connection, "no answer")}

    def connected(self, name: str) -> dict[str, Any]:
        """Answer whether a connection is still there."""
        self.container.process()
        return {"connected": self.connections[name] not in self.failures}

    def subscribe(self, name: str, on: str, address: str | None, credit: int, manner: str) -> dict[str, Any]:
        """Attach a receiving link, with an address of the router's making when none is given."""
        entry = self.subscriptions[name] = Subscription(manner)
        connection = self.connections[on]
        dynamic = address is None
        entry.link = self.container.create_receiver(connection, address, name=name, dynamic=dynamic, handler=entry)
        self.wait(lambda: entry.link.state & Endpoint.REMOTE_ACTIVE, 10)
        entry.link.flow(credit)
        self.container.process()
        return {"address": entry.link.remote_source.address}

    def unsubscribe(self, name: str) -> dict[str, Any]:
        """Detach a subscription."""
        link = self.subscriptions.pop(name).link
        link.close()
        self.wait(lambda: link.state & Endpoint.REMOTE_CLOSED, 5)
        return {}

    def send(
        self, on: str, address: str | None, messages: list[dict[str, Any]], timeout: float, *, settled: bool = False
    ) -> dict[str, Any]:
        """Send messages on one link of their own; answers each one's outcome, "no credit" for those not sent."""
        option = AtMostOnce() if settled else AtLeastOnce()
        link = self.container.create_sender(self.connections[on], address, name=_name(), options=option)
        deliveries: list[Any] = []
        deadline = time.monotonic() + timeout
        for message in messages:
            if not self.wait(lambda: link.credit > 0, max(0.0, deadline - time.monotonic())):
                break
            deliveries.append(link.send(Message(**message)))
        self.wait(lambda: settled or all(one.remote_state for one in deliveries), max(0.0, deadline - time.monotonic()))
        self.wait(lambda: link.queued == 0, 2)
        outcomes = ["sent" if settled else _STATES.get(one.remote_state, "pending") for one in deliveries]
        if "pending" not in outcomes:  # a sender that leaves takes its pending deliveries out of the router's count
            for one in deliveries:
                one.settle()
            link.close()
        self.container.process()
        return {"outcomes": outcomes + ["no credit"] * (len(messages) - len(deliveries))}

    def received(self, names: list[str], count: int, timeout: float, quiet: float) -> dict[str, Any]:
        """Answer what came by subscription: waits for count messages in all, then `quiet` seconds for any more."""
        entries = [self.subscriptions[name] for name in names]
        self.wait(lambda: sum(len(entry.got) for entry in entries) >= count, timeout)
        self.wait(lambda: False, quiet)
        bodies = [[message.body for message in entry.got] for entry in entries]
        for entry in entries:
            entry.got.clear()
        return {"bodies": bodies}

    def request(self, on: str, address: str, properties: dict[str, Any], body: Any, timeout: float) -> dict[str, Any]:
        """Ask with a reply address of the router's making, as the management protocol wants it."""
        entry = Subscription("accept")
        link = self.container.create_receiver(self.connections[on], None, name=_name(), dynamic=True, handler=entry)
        self.wait(lambda: link.state & Endpoint.REMOTE_ACTIVE, 5)
        link.flow(1)
        message = {"reply_to": link.remote_source.address, "correlation_id": 1, "properties": properties, "body": body}
        sent = self.send(on, address, [message | {"address": address}], timeout)
        came = self.wait(lambda: entry.got, timeout)
        link.close()
        if not came:
            return {"status": None, "text": f"no answer; the request: {sent['outcomes']}", "body": None}
        answer = entry.got[0]
        status = (answer.properties or {}).get("statusCode")
        text = (answer.properties or {}).get("statusDescription")
        return {"status": status, "text": text, "body": answer.body}

    def close(self, name: str) -> dict[str, Any]:
        """Close a connection."""
        connection = self.connections.pop(name)
        connection.close()
        self.wait(lambda: connection.state & Endpoint.REMOTE_CLOSED or connection in self.failures, 5)
        return {}


def main() -> None:
    """Serve commands until stdin ends."""
    actor = Actor()
    while True:
        actor.container.process()
        if not select.select([sys.stdin], [], [], 0)[0]:
            continue
        line = sys.stdin.readline()
        if not line:
            return
        command = json.loads(line)
        answer = getattr(actor, command.pop("do"))(**command)
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Runs on a router host, with its proton: reads a router over AMQP management, changes it, and checks a mesh's fanout.

One JSON request line on stdin, one answer line on stdout behind MARK. A request is `{"action": "view" | "mesh" |
"update" | "fanout", "routers": [[host, port]], "verify_name": bool, "tls_ca": path or null, "user": with its realm,
"password", "timeout": seconds}` and more for some; all but fanout ask the first of `routers`. Every answer has
`problem`, "" when all went well:

    view    {"view": {"id", "mode", "version", "nodes": [router id], "entities": [{"type", "name", "attributes"}],
                      "connections": [{"container", "user", "host", "role"}],
                      "links": [{"container", "dir", "address", "undelivered", "unsettled"}]}}
    mesh    {"nodes": [router id], "connectors": [{"name", "status", "text"}]}
    update  "delete": [{"type", "name"}], "create": [{"type", "name", "attributes"}]  ->  {"changed": [line]}
    fanout  "rounds"  ->  {"sent": int, "pairs": [{"from": host, "to": host, "copies": [fewest, most]}]}

For python-qpid-proton 0.37 and later (the blocking interface), Python 3.9 and later, qdrouterd 1.14 to 1.19.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from importlib import import_module
from typing import Any

MARK = "hybridmsg-probe "
OWN = "hybridmsg-"  # how the containers of this program are called: no view shows them
PAGE = 500  # rows of one answer
MANAGEMENT = "$management"
TYPE = "org.apache.qpid.dispatch."
ENTITIES = {"listener": "listener", "connector": "connector", "address": "router.config.address"}
ENTITIES.update({"sslProfile": "sslProfile", "log": "log"})
HIDDEN = ("password", "saslPassword")  # attributes that may hold a secret
OK, NOT_FOUND, DONE = 200, 404, (200, 201, 204)  # of the management protocol
# Below it, so that it is routed as the fanout of OpenStack is.
FANOUT = "openstack.org/om/rpc/multicast/hybridmsg-check/"
CREDIT = 2000  # messages that may be on their way to one subscriber
PULSE = 0.2  # seconds between two attempts to reach every subscriber
QUIET = 1.0  # seconds without a message after which no further copy comes

Row = dict[str, Any]


class Refusal(Exception):
    """A router did not do what management asked of it."""


class Management:
    """The management node of one router."""

    def __init__(self, request: Row) -> None:
        self._deadline = time.monotonic() + float(request["timeout"])
        self.connection = _connect(request, request["routers"][0], _container())
        self._client = import_module("proton.utils").SyncRequestResponse(self.connection, MANAGEMENT)

    def call(self, operation: str, body: Any = None, **properties: Any) -> Any:
        """Return the answer to one operation, a proton Message."""
        self.connection.timeout = max(self._deadline - time.monotonic(), 0.1)
        message = import_module("proton").Message(body=body, properties={"operation": operation, **properties})
        return self._client.call(message)

    def query(self, kind: str, attributes: list[str]) -> list[Row]:
        """Return all entities of a type, page by page; no attributes means all."""
        rows: list[Row] = []
        while True:
            asked = {"entityType": TYPE + kind, "offset": len(rows), "count": PAGE}
            answer = self.call(
                "QUERY", {"attributeNames": attributes}, type="org.amqp.management", name="self", **asked
            )
            if answer.properties["statusCode"] != OK:
                raise Refusal(f"{kind}: {answer.properties.get('statusDescription')}")
            names, page = answer.body["attributeNames"], answer.body["results"]
            rows += [{name: row[place] for place, name in enumerate(names)} for row in page]
            if len(page) < PAGE:
                return rows


def _container() -> Any:
    container = import_module("proton.reactor").Container()
    container.container_id = OWN + uuid.uuid4().hex  # proton 0.37 does not take it as an argument
    return container


def _connect(request: Row, router: list[Any], container: Any) -> Any:
    """Log in to one router by SASL PLAIN."""
    proton = import_module("proton")
    host, port = router
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    domain = None
    if request["tls_ca"]:
        domain = proton.SSLDomain(proton.SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(request["tls_ca"])
        verified = proton.SSLDomain.VERIFY_PEER_NAME if request["verify_name"] else proton.SSLDomain.VERIFY_PEER
        domain.set_peer_authentication(verified)
    return import_module("proton.utils").BlockingConnection(
        f"{'amqps' if domain else 'amqp'}://{address}",
        timeout=float(request["timeout"]),
        container=container,
        ssl_domain=domain,
        user=request["user"],
        password=request["password"],
        allowed_mechs="PLAIN",
        allow_insecure_mechs=True,
    )


def _view(request: Row) -> Row:
    """Return the router as it tells it."""
    node = Management(request)
    [router] = node.query("router", ["id", "mode", "version"])
    asked = node.query("connection", ["identity", "container", "user", "host", "role"])
    connections = [row for row in asked if not (row["container"] or "").startswith(OWN)]
    containers = {row.pop("identity"): row["container"] for row in connections}
    view = {
        **router,
        "nodes": _nodes(node, router["id"]),
        "entities": [entity for kind in ENTITIES for entity in _entities(node, kind)],
        "connections": [{name: value or "" for name, value in row.items()} for row in connections],
        "links": _links(node, containers),
    }
    node.connection.close()
    return {"view": view}


def _nodes(node: Management, own: str) -> list[str]:
    """Return the ids of the mesh's routers; a standalone one tells of none, not even of itself."""
    return sorted({own, *(row["id"] for row in node.query("router.node", ["id"]))})


def _entities(node: Management, kind: str) -> list[Row]:
    found = []
    for row in node.query(ENTITIES[kind], []):
        attributes = {name: value for name, value in row.items() if value is not None and name not in HIDDEN}
        name = row["module"] if kind == "log" else row.get("name") or row["identity"]
        found.append({"type": kind, "name": name, "attributes": attributes})
    return found


def _links(node: Management, containers: dict[str, str]) -> list[Row]:
    """Return the links of the connections, by the containers' names."""
    asked = ["connectionId", "linkType", "linkDir", "owningAddr", "undeliveredCount", "unsettledCount"]
    return [
        {
            "container": containers[row["connectionId"]],
            "dir": row["linkDir"],
            "address": _address(row["owningAddr"] or ""),
            "undelivered": row["undeliveredCount"],
            "unsettled": row["unsettledCount"],
        }
        for row in node.query("router.link", asked)
        if row["linkType"] == "endpoint" and row["connectionId"] in containers
    ]


def _address(key: str) -> str:
    """Return the address of a router's key: one letter for its class, and a phase after that of a mobile address."""
    return key[2:] if key.startswith("M") else key[1:]


def _mesh(request: Row) -> Row:
    """Return whom the router knows and how its connectors are."""
    node = Management(request)
    [router] = node.query("router", ["id"])
    connectors = node.query("connector", ["name", "connectionStatus", "connectionMsg"])
    answer = {
        "nodes": _nodes(node, router["id"]),
        "connectors": [
            {"name": row["name"], "status": row["connectionStatus"] or "", "text": row["connectionMsg"] or ""}
            for row in connectors
        ],
    }
    node.connection.close()
    return answer


def _update(request: Row) -> Row:
    """Delete, then create; what is gone already stays gone, and a log, which always is there, is updated."""
    node = Management(request)
    changed: list[str] = []
    try:
        for entity in request["delete"]:
            changed += _change(node, "DELETE", entity)
        for entity in request["create"]:
            changed += _change(node, "UPDATE" if entity["type"] == "log" else "CREATE", entity)
    except Refusal as refusal:
        return {"changed": changed, "problem": str(refusal)}
    finally:
        node.connection.close()
    return {"changed": changed}


def _change(node: Management, operation: str, entity: Row) -> list[str]:
    """Carry out one operation and return it as a line; nothing for the deletion of what is not there."""
    kind, name = entity["type"], entity["name"]
    named = {"identity": f"log/{name}"} if kind == "log" else {"name": name}
    answer = node.call(operation, entity.get("attributes", {}), type=TYPE + ENTITIES[kind], **named).properties
    status = int(answer["statusCode"])
    if operation == "DELETE" and status == NOT_FOUND:
        return []
    if status not in DONE:
        raise Refusal(f"{operation.lower()} {kind} {name}: {answer.get('statusDescription')} ({status})")
    return [f"{operation.lower()}d {kind} {name}"]


class Mesh:
    """A subscriber and a sender at every router, on one private multicast address."""

    def __init__(self, request: Row) -> None:
        proton = import_module("proton.reactor")
        self._deadline = time.monotonic() + float(request["timeout"])
        self._rounds = int(request["rounds"])
        self._address = FANOUT + uuid.uuid4().hex
        container = _container()
        self._connections: list[Any] = []
        for router in request["routers"]:
            self._connections.append(_connect(request, router, container))
        self._receivers = [one.create_receiver(self._address, credit=CREDIT) for one in self._connections]
        self._senders = [one.create_sender(self._address, options=proton.AtMostOnce()) for one in self._connections]
        self._hosts = [host for host, _port in request["routers"]]
        # (sender, round, receiver): copies
        self._copies: dict[tuple[int, int, int], int] = {}

    def check(self) -> Row:
        """Reach every subscriber from everywhere, then count the copies of each of `rounds` messages."""
        first = -1
        while missing := self._missing(first):
            if time.monotonic() > self._deadline - 3 * QUIET:
                break
            self._send([first])
            self._take_all(PULSE)
        self._take_all(QUIET)
        self._send(list(range(self._rounds)))
        self._take_all(QUIET)
        pairs = [self._pair(sender, receiver) for sender in self._each() for receiver in self._each()]
        problem = f"no message came from {'; '.join(missing)}" if missing else ""
        return {"sent": self._rounds, "pairs": pairs, "problem": problem}

    def _each(self) -> range:
        return range(len(self._hosts))

    def _missing(self, number: int) -> list[str]:
        return [
            f"{self._hosts[sender]} to {self._hosts[receiver]}"
            for sender in self._each()
            for receiver in self._each()
            if (sender, number, receiver) not in self._copies
        ]

    def _send(self, numbers: list[int]) -> None:
        message = import_module("proton").Message
        for number in numbers:
            for place, sender in enumerate(self._senders):
                sender.link.send(message(body=[place, number]))

    def _take_all(self, quiet: float) -> None:
        """Take messages until none has come for `quiet` seconds."""
        while self._take(quiet) and time.monotonic() < self._deadline:
            pass

    def _take(self, timeout: float) -> bool:
        """Wait for a message at any router and count all that are there; False when none came."""
        try:
            self._connections[0].wait(self._waiting, timeout)
        except import_module("proton").Timeout:
            return False
        for place, receiver in enumerate(self._receivers):
            while receiver.fetcher.has_message:
                sender, number = receiver.fetcher.pop().body
                receiver.link.flow(1)
                key = (sender, number, place)
                self._copies[key] = self._copies.get(key, 0) + 1
        return True

    def _waiting(self) -> bool:
        lost = [self._hosts[place] for place, one in enumerate(self._connections) if one.disconnected]
        if lost:
            raise Refusal(f"the connection to {', '.join(lost)} was lost")
        return any(receiver.fetcher.has_message for receiver in self._receivers)

    def _pair(self, sender: int, receiver: int) -> Row:
        counts = [self._copies.get((sender, number, receiver), 0) for number in range(self._rounds)]
        return {"from": self._hosts[sender], "to": self._hosts[receiver], "copies": [min(counts), max(counts)]}


def _fanout(request: Row) -> Row:
    return Mesh(request).check()


ACTIONS = {"view": _view, "mesh": _mesh, "update": _update, "fanout": _fanout}


def main() -> None:
    """Answer the request on stdin and leave."""
    request = json.loads(sys.stdin.buffer.readline())
    try:
        answer = {"problem": "", **ACTIONS[request["action"]](request)}
    except Refusal as refusal:
        answer = {"problem": str(refusal)}
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
        answer = {"problem": f"{type(error).__name__}: {error}"}
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()
    # Connections of a mesh are left to the end of the process: proton would wait for each of its peers.
    os._exit(0)


if __name__ == "__main__":
    main()

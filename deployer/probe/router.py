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

import itertools
import json
import os
import sys
import time
import uuid
from collections import Counter
from importlib import import_module
from typing import Any

MARK = "hybridmsg-probe "
OWN = "hybridmsg-"  # how the containers of this program are called: no view shows them
PAGE = 500  # rows of one answer
MANAGEMENT, SELF = "$management", "org.amqp.management"  # the node's address and its own type
TYPE = "org.apache.qpid.dispatch."
ENTITIES = {kind: kind for kind in ("listener", "connector", "sslProfile", "log")}
ENTITIES["address"] = "router.config.address"
HIDDEN = ("password", "saslPassword")  # attributes that may hold a secret
OK, NOT_FOUND, DONE = 200, 404, (200, 201, 204)  # of the management protocol
FANOUT = "openstack.org/om/rpc/multicast/hybridmsg-check/"  # routed as OpenStack's own fanout is
CREDIT = 2000  # messages that may be on their way to one subscriber
FIRST, PULSE = -1, 0.2  # number of the messages that try to reach every subscriber, and the seconds between them
RESERVE = 4.0  # seconds kept for counting, which takes QUIET twice
QUIET = 1.0  # seconds without a message after which no further copy comes from another router

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
        self.connection.timeout = self._deadline - time.monotonic()
        if self.connection.timeout <= 0:
            raise Refusal("the router did not answer everything in time")
        message = import_module("proton").Message(body=body, properties={"operation": operation, **properties})
        return self._client.call(message)

    def query(self, kind: str, attributes: list[str], **page: int) -> list[Row]:
        """Return all entities of a type, or those of one page; no attributes means all."""
        asked = {"type": SELF, "name": "self", "entityType": TYPE + kind, **page}
        answer = self.call("QUERY", {"attributeNames": attributes}, **asked)
        if answer.properties["statusCode"] != OK:
            raise Refusal(f"{kind}: {answer.properties.get('statusDescription')}")
        names, rows = answer.body["attributeNames"], answer.body["results"]
        return [{name: row[place] for place, name in enumerate(names)} for row in rows]

    def pages(self, kind: str, attributes: list[str]) -> list[Row]:
        """Return all of what grows with the cloud; qdrouterd has pages for that only, elsewhere it ignores offset."""
        rows: list[Row] = []
        while len(rows) % PAGE == 0:
            page = self.query(kind, attributes, offset=len(rows), count=PAGE)
            if not page:
                break
            rows += page
        return rows


def _container() -> Any:
    container = import_module("proton.reactor").Container()
    container.container_id = OWN + uuid.uuid4().hex  # proton 0.37 does not take it as an argument
    return container


def _connect(request: Row, router: list[Any], container: Any) -> Any:
    """Log in to one router by SASL PLAIN."""
    proton, domain = import_module("proton"), None
    host, port = router
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
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


def _view(node: Management, _request: Row) -> Row:
    """Return the router as it tells it."""
    [router] = node.query("router", ["id", "mode", "version"])
    asked = node.pages("connection", ["identity", "container", "user", "host", "role"])
    connections = [row for row in asked if not (row["container"] or "").startswith(OWN)]
    containers = {row.pop("identity"): row["container"] for row in connections}
    view = {
        **router,
        "nodes": _nodes(node),
        "entities": [entity for kind in ENTITIES for entity in _entities(node, kind)],
        "connections": [{name: value or "" for name, value in row.items()} for row in connections],
        "links": _links(node, containers),
    }
    return {"view": view}


def _nodes(node: Management) -> list[str]:
    """Return the ids of the mesh's routers; a standalone one tells of none, not even of itself."""
    return sorted({row["id"] for kind in ("router", "router.node") for row in node.query(kind, ["id"])})


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
        for row in node.pages("router.link", asked)
        if row["linkType"] == "endpoint" and row["connectionId"] in containers
    ]


def _address(key: str) -> str:
    """Return the address of a router's key: one letter for its class, and a phase after that of a mobile address."""
    return key[2:] if key.startswith("M") else key[1:]


def _mesh(node: Management, _request: Row) -> Row:
    """Return whom the router knows and how its connectors are."""
    told = [
        {"name": row["name"], "status": row["connectionStatus"] or "", "text": row["connectionMsg"] or ""}
        for row in node.query("connector", ["name", "connectionStatus", "connectionMsg"])
    ]
    return {"nodes": _nodes(node), "connectors": told}


def _update(node: Management, request: Row) -> Row:
    """Delete, then create; what is gone already stays gone, and a log, which always is there, is updated."""
    changed: list[str] = []
    try:
        for entity in request["delete"]:
            changed += _change(node, "DELETE", entity)
        for entity in request["create"]:
            changed += _change(node, "UPDATE" if entity["type"] == "log" else "CREATE", entity)
    except Refusal as refusal:
        return {"changed": changed, "problem": str(refusal)}
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
        timeout = float(request["timeout"])
        self._deadline = time.monotonic() + max(timeout - RESERVE, timeout / 2)
        self._rounds = int(request["rounds"])
        self._address = FANOUT + uuid.uuid4().hex
        container = _container()
        self._connections = [_connect(request, router, container) for router in request["routers"]]
        self._receivers = [one.create_receiver(self._address, credit=CREDIT) for one in self._connections]
        self._senders = [one.create_sender(self._address, options=proton.AtMostOnce()) for one in self._connections]
        self._hosts = [host for host, _port in request["routers"]]
        self._quiet = QUIET if len(self._hosts) > 1 else PULSE  # one alone has no second way for a copy
        self._pairs = list(itertools.product(range(len(self._hosts)), repeat=2))
        self._copies: Counter[tuple[int, int, int]] = Counter()  # by sender, round and receiver

    def check(self) -> Row:
        """Reach every subscriber from everywhere, then count the copies of each of `rounds` messages."""
        missing = None
        while missing is None or (missing and time.monotonic() < self._deadline):
            self._send([FIRST])
            self._take_all(PULSE)
            missing = self._missing()
        self._take_all(self._quiet)
        self._send(list(range(self._rounds)))
        self._take_all(self._quiet)
        pairs = [self._pair(sender, receiver) for sender, receiver in self._pairs]
        problem = f"no message came from {'; '.join(missing)}" if missing else ""
        return {"sent": self._rounds, "pairs": pairs, "problem": problem}

    def _missing(self) -> list[str]:
        lacking = [pair for pair in self._pairs if not self._copies[pair[0], FIRST, pair[1]]]
        return [f"{self._hosts[sender]} to {self._hosts[receiver]}" for sender, receiver in lacking]

    def _send(self, numbers: list[int]) -> None:
        message = import_module("proton").Message
        for number in numbers:
            for place, sender in enumerate(self._senders):
                sender.link.send(message(body=[place, number]))

    def _take_all(self, quiet: float) -> None:
        """Take messages until none has come for `quiet` seconds."""
        while self._take(quiet) and time.monotonic() < self._deadline + RESERVE:
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
                self._copies[sender, number, place] += 1
        return True

    def _waiting(self) -> bool:
        lost = [self._hosts[place] for place, one in enumerate(self._connections) if one.disconnected]
        if lost:
            raise Refusal(f"the connection to {', '.join(lost)} was lost")
        return any(receiver.fetcher.has_message for receiver in self._receivers)

    def _pair(self, sender: int, receiver: int) -> Row:
        counts = [self._copies[sender, number, receiver] for number in range(self._rounds)]
        return {"from": self._hosts[sender], "to": self._hosts[receiver], "copies": [min(counts), max(counts)]}


MANAGED = {"view": _view, "mesh": _mesh, "update": _update}


def _answer(request: Row) -> Row:
    if request["action"] == "fanout":
        # Its connections are left to the end of the process: proton would wait for each of its peers.
        return Mesh(request).check()
    node = Management(request)
    answer = MANAGED[request["action"]](node, request)
    node.connection.close()
    return answer


def main() -> None:
    """Answer the request on stdin and leave."""
    request = json.loads(sys.stdin.buffer.readline())
    try:
        answer = {"problem": "", **_answer(request)}
    except Refusal as refusal:
        answer = {"problem": str(refusal)}
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
        answer = {"problem": f"{type(error).__name__}: {error}"}
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

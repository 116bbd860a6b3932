"""What a router is, as its host's agent tells it: users, logins, and its own view of who is attached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What oslo.messaging's amqp driver calls its containers: .../<host>/<process>/<pid>/<uuid> (_drivers/amqp1_driver).
OPENSTACK_CONTAINER = "openstack.org/om/container/"


@dataclass(frozen=True)
class Connection:
    """A peer of the router; `role` is normal, inter-router, ...; the last three are an OpenStack service's."""

    container: str
    user: str
    host: str
    role: str
    node: str = ""
    process: str = ""
    pid: int | None = None

    @property
    def openstack(self) -> bool:
        """Whether oslo.messaging's amqp driver is at the other end."""
        return self.container.startswith(OPENSTACK_CONTAINER)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Connection:
        """Read one connection of the agent's view."""
        container = raw["container"]
        node, process, pid = _service(container)
        return cls(container, raw["user"], raw["host"], raw["role"], node, process, pid)


@dataclass(frozen=True)
class Link:
    """A peer's link: `dir` is "out" for a subscription, "in" for a sender; `address` is "" for an anonymous sender.

    `undelivered` and `unsettled` count deliveries.
    """

    container: str
    dir: str
    address: str
    undelivered: int
    unsettled: int


@dataclass(frozen=True)
class RouterView:
    """A running router as it tells it: `nodes` are the routers it knows, itself included.

    `version` is what the router says it is (a stand-in says so there). `entities` maps (type, name) to attributes, for
    listener, connector, address, sslProfile and log; a password is never among them.
    """

    id: str
    mode: str
    version: str
    nodes: tuple[str, ...]
    entities: Mapping[tuple[str, str], Mapping[str, object]] = field(repr=False)
    connections: tuple[Connection, ...] = field(repr=False)
    links: tuple[Link, ...] = field(repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> RouterView:
        """Read the agent's view; raises KeyError when it broke the protocol."""
        return cls(
            id=raw["id"],
            mode=raw["mode"],
            version=raw["version"],
            nodes=tuple(raw["nodes"]),
            entities={(entity["type"], entity["name"]): entity["attributes"] for entity in raw["entities"]},
            connections=tuple(Connection.of(connection) for connection in raw["connections"]),
            links=tuple(Link(**link) for link in raw["links"]),
        )


@dataclass(frozen=True)
class RouterFacts:
    """One host's router: `version` of the installed package or None, `users` like nova@openstack, in its sasldb.

    `logins` maps each user that was tried to None (let in) or why not; `problem` says why there is no `view`.
    """

    version: str | None
    users: tuple[str, ...]
    logins: Mapping[str, str | None]
    view: RouterView | None
    problem: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> RouterFacts:
        """Read the agent's answer to `router`; raises KeyError when it broke the protocol."""
        view = None if answer["view"] is None else RouterView.of(answer["view"])
        return cls(answer["version"], tuple(answer["users"]), answer["logins"], view, answer["problem"])


@dataclass(frozen=True)
class FanoutPair:
    """How many copies of each message from router `source` came at router `target`: the fewest and the most."""

    source: str
    target: str
    fewest: int
    most: int

    def __str__(self) -> str:
        copies = str(self.fewest) if self.fewest == self.most else f"{self.fewest} to {self.most}"
        return f"{self.source} to {self.target}: {copies}"


@dataclass(frozen=True)
class Fanout:
    """The fanout check: `sent` messages from each router; `problem` is why it could not be carried out, or ""."""

    sent: int
    pairs: tuple[FanoutPair, ...]
    exactly_once: bool
    problem: str

    @property
    def wrong(self) -> tuple[FanoutPair, ...]:
        """Return the pairs that did not get every message exactly once."""
        return tuple(pair for pair in self.pairs if (pair.fewest, pair.most) != (1, 1))

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Fanout:
        """Read the agent's answer to `routers`; raises KeyError when it broke the protocol."""
        pairs = tuple(FanoutPair(pair["from"], pair["to"], *pair["copies"]) for pair in answer["pairs"])
        return cls(answer["sent"], pairs, answer["exactly_once"], answer["problem"])


def _service(container: str) -> tuple[str, str, int | None]:
    """Return node, process and pid out of an OpenStack service's container name, nothing for another's."""
    node, _, rest = container.removeprefix(OPENSTACK_CONTAINER).partition("/")
    words = rest.rsplit("/", 2)
    if not container.startswith(OPENSTACK_CONTAINER) or len(words) != 3 or not words[1].isdecimal():
        return "", "", None
    return node, words[0], int(words[1])

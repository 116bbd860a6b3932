"""One broker as its host's facts show it, the seed among several, and the reasons not to touch them."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import Mistake
from deployer.model.secrets import Secret
from deployer.plan.observed import HostFacts

UNIT = "rabbitmq-server"
CONF = "/etc/rabbitmq/conf.d/10-hybridmsg.conf"
COOKIE = "/var/lib/rabbitmq/.erlang.cookie"

_LISTED = 5
_OWN_DEFAULTS = {"vhosts": "/", "users": "guest"}


@dataclass(frozen=True)
class Broker:
    """A host with a broker, now or soon. `node` is rabbit@HOST; `members` its cluster's nodes, with it.

    `conf_is_newer`: CONF changed since it started, as by a run that was cut off before the restart.
    """

    host: str
    hostname: str
    package_manager: str | None
    installed: bool
    running: bool
    active: bool
    version: str | None
    node: str
    members: frozenset[str]
    empty: bool
    resolves: dict[str, bool]
    cookie: Secret | None
    cookie_sha256: str | None
    conf_sha256: str | None
    conf_is_newer: bool
    definitions: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, host: str, facts: HostFacts) -> Broker:
        """Read the facts of a host that was asked for `rabbitmq`, the unit UNIT and the file CONF."""
        seen = facts.rabbitmq or {}
        hostname = facts.hostname.split(".")[0]
        unit = facts.units.get(UNIT)
        cookie = seen.get("cookie_b64")
        return cls(
            host=host,
            hostname=hostname,
            package_manager=facts.package_manager,
            installed=bool(seen.get("installed")),
            running=bool(seen.get("running")),
            active=unit is not None and unit.active == "active",
            version=seen.get("version"),
            node=seen.get("node") or f"rabbit@{hostname}",
            members=frozenset(seen.get("members") or ()),
            empty=bool(seen.get("empty")),
            resolves=dict(seen.get("resolves") or {}),
            # Debian's package writes the file with a newline, which is no part of the cookie.
            cookie=None if cookie is None else Secret(base64.b64decode(cookie).decode("latin-1").strip()),
            cookie_sha256=seen.get("cookie_sha256"),
            conf_sha256=facts.files[CONF].sha256,
            conf_is_newer=unit is not None and unit.began_before(facts.files[CONF]),
            definitions=dict(seen.get("definitions") or {}),
        )

    @property
    def established(self) -> bool:
        """Whether it holds anything, or is in a cluster: then it is adopted, never emptied."""
        return self.running and (not self.empty or len(self.members) > 1)

    @property
    def down(self) -> bool:
        """Whether it is installed and does not run: what it holds cannot be asked."""
        return self.installed and not self.running

    def is_with(self, seed: Broker) -> bool:
        """Whether both are in one cluster."""
        return seed.node in self.members or self.node in seed.members

    def can_find(self, peer: Broker) -> bool:
        """Whether the peer's name resolves here, as far as that was asked."""
        return self.resolves.get(peer.hostname, True)

    @property
    def takes_cookie(self) -> bool:
        """Whether its package will keep a cookie that is there before it: Debian's does (rabbitmq-server.postinst)."""
        return not self.installed and self.package_manager == "apt"

    def has_conf(self, conf: bytes) -> bool:
        """Whether CONF on the host has this content."""
        return self.conf_sha256 == hashlib.sha256(conf).hexdigest()

    def holds(self) -> str:
        """Return what it holds beyond RabbitMQ's defaults, for people: names only."""
        parts = []
        for kind, default in _OWN_DEFAULTS.items():
            names = sorted({item["name"] for item in self.definitions.get(kind, [])} - {default})
            if names:
                more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
                parts.append(f"{kind} {', '.join(names[:_LISTED])}{more}")
        if len(self.members) > 1:
            parts.append(f"a cluster of {', '.join(sorted(self.members))}")
        return "; ".join(parts) or "queues or exchanges of its own"


def pick_seed(brokers: Sequence[Broker]) -> Broker:
    """Return the broker to gather around: of the largest cluster, else one that holds something, or runs."""
    # max() keeps the first of equals: the order of the inventory decides.
    return max(
        brokers,
        key=lambda broker: (broker.established, len(broker.members), broker.running, broker.installed),
    )


def obstacles(brokers: Sequence[Broker], seed: Broker) -> list[Mistake]:
    """Return every reason not to make these brokers one cluster, each with its remedy."""
    return [
        *_unmanaged(brokers),
        *_silent(brokers),
        *_same_names(brokers),
        *(mistake for broker in brokers for mistake in _unresolved(broker, brokers)),
        *(_foreign(broker, seed) for broker in brokers if broker.established and seed.node not in broker.members),
        *(_forgotten(broker, seed) for broker in brokers if _was_reset(broker, seed)),
    ]


def _unmanaged(brokers: Sequence[Broker]) -> list[Mistake]:
    return [
        Mistake(broker.host, "", "has neither apt-get nor dnf: install RabbitMQ there yourself")
        for broker in brokers
        if not broker.installed and broker.package_manager is None
    ]


def _silent(brokers: Sequence[Broker]) -> list[Mistake]:
    """A unit that is active and does not serve; no mistake while a peer is down, for that may be what it waits for."""
    if any(broker.down and not broker.active for broker in brokers):
        return []
    problem = f"{UNIT} is active, but its broker does not serve: see `rabbitmqctl status` and its log on that host"
    return [Mistake(broker.host, "", problem) for broker in brokers if broker.down]


def _same_names(brokers: Sequence[Broker]) -> list[Mistake]:
    counted = Counter(broker.node for broker in brokers)
    return [
        Mistake(
            broker.host,
            "",
            f"its node name {broker.node} is another host's too: give it a host name of its own",
        )
        for broker in brokers
        if counted[broker.node] > 1
    ]


def _unresolved(broker: Broker, brokers: Sequence[Broker]) -> list[Mistake]:
    """Erlang's distribution finds peers by the host part of their node names alone."""
    lost = [peer.hostname for peer in brokers if not broker.can_find(peer)]
    if len(brokers) == 1 or not lost:
        return []
    remedy = "add the short names of all rabbitmq hosts to its /etc/hosts, or to DNS"
    problem = f"cannot resolve {', '.join(lost)}: {remedy}"
    return [Mistake(broker.host, "", problem)]


def _foreign(broker: Broker, seed: Broker) -> Mistake:
    problem = (
        f"is not in the cluster of {seed.node} and joining would erase what it holds ({broker.holds()}). "
        "Take it out of the rabbitmq group; or save what it holds, and empty it with "
        "`rabbitmqctl stop_app && rabbitmqctl reset && rabbitmqctl start_app`"
    )
    return Mistake(broker.host, "", problem)


def _was_reset(broker: Broker, seed: Broker) -> bool:
    return broker.running and broker.node in seed.members and seed.node not in broker.members and not broker.established


def _forgotten(broker: Broker, seed: Broker) -> Mistake:
    problem = (
        f"was in the cluster of {seed.node} and no longer knows it. "
        f"Run `rabbitmqctl forget_cluster_node {broker.node}` on {seed.host}; it can join afterwards"
    )
    return Mistake(broker.host, "", problem)

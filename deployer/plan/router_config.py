"""What one router of the deployment is configured to be: its entities, and the texts of its files."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deployer.model.deployment import Deployment
from deployer.plan.render import render
from deployer.plan.topology import links

UNIT = "qdrouterd"
ACCOUNT = "qdrouterd"
CONF = "/etc/qpid-dispatch/qdrouterd.conf"
SASL_CONF = "/etc/sasl2/qdrouterd.conf"
PASSWORD = "/etc/qpid-dispatch/hybridmsg.password"  # noqa: S105 - a file's name
USERS = "/var/lib/qdrouterd/qdrouterd.sasldb"
FILES = (CONF, SASL_CONF, PASSWORD)
"""What a router's host is asked for; USERS holds passwords in the clear and never leaves it."""

HEADER = b"# Written by hybridmsg"
"""How our qdrouterd.conf begins."""
OURS = "hybridmsg-"
"""How the names of our entities begin: a running router's others are its own, or somebody else's."""

DEAD_PEER = 4
"""Seconds of silence after which a router takes its peer for dead; at the default of 16 fanouts are lost as long."""

# oslo.messaging's addresses (_drivers/amqp1_driver/addressing.py). Unless told so, a router balances, and a fanout
# would come to one of its subscribers only.
_DISTRIBUTION = {"multicast": "multicast", "unicast": "closest", "anycast": "balanced"}

Value = str | int | bool


@dataclass(frozen=True)
class Entity:
    """One section of qdrouterd.conf: `router`, `listener`, `connector`, `address`, `sslProfile` or `log`.

    `name` is how management finds it: for a router that is its id, for a log its module.
    """

    type: str
    name: str
    attributes: Mapping[str, Value]

    def lines(self) -> Iterator[tuple[str, str]]:
        """Return the attributes as they are written, the name first."""
        if self.type not in ("router", "log"):
            yield "name", self.name
        for name, value in self.attributes.items():
            yield name, plain(value)


def plain(value: object) -> str:
    """Return a value as the configuration file has it, whether the file or the router told it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def entities(deployment: Deployment, place: int) -> tuple[Entity, ...]:
    """Return what the router at this place of the qdrouterd group is to have, in the order of its file."""
    interior = len(deployment.qdrouterd) > 1
    name = deployment.qdrouterd[place].name
    return (
        Entity("router", name, {"mode": "interior" if interior else "standalone", "id": name}),
        *_ssl_profile(deployment),
        _listener(deployment, place, "clients"),
        *((_listener(deployment, place, "routers"), *_connectors(deployment, place)) if interior else ()),
        *_addresses(),
        Entity("log", "DEFAULT", {"module": "DEFAULT", "enable": "info+"}),
    )


def configuration(deployment: Deployment, place: int) -> bytes:
    """Return qdrouterd.conf: every attribute and closing brace on a line of its own, as its parser wants them."""
    return render("qdrouterd.conf.j2", entities=entities(deployment, place))


def sasl_configuration() -> bytes:
    """Return Cyrus SASL's configuration for the router: passwords of its own database, PLAIN only."""
    return render("qdrouterd-sasl.conf.j2", database=USERS)


def wildcard(address: str) -> str:
    """Return the address to listen on, so that a router answers at `address` and on its own host's loopback."""
    return "::" if _is_ipv6(address) else "0.0.0.0"  # noqa: S104 - services on all hosts are to reach it


def loopback(address: str) -> str:
    """Return where a router that is known by `address` answers on its own host."""
    return "::1" if _is_ipv6(address) else "127.0.0.1"


def _is_ipv6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False


def _ssl_profile(deployment: Deployment) -> tuple[Entity, ...]:
    tls = deployment.router.tls
    if tls is None:
        return ()
    files: dict[str, Value] = {"certFile": tls.certificate, "privateKeyFile": tls.key, "caCertFile": tls.ca}
    return (Entity("sslProfile", f"{OURS}tls", files),)


def _listener(deployment: Deployment, place: int, whom: str) -> Entity:
    settings, peers = deployment.router, whom == "routers"
    attributes: dict[str, Value] = {
        "host": wildcard(deployment.qdrouterd[place].address),
        "port": str(settings.inter_router_port if peers else settings.port),
        "role": "inter-router" if peers else "normal",
        **({"idleTimeoutSeconds": DEAD_PEER} if peers else {}),
        "authenticatePeer": True,
        "saslMechanisms": "PLAIN",
        **({"sslProfile": f"{OURS}tls", "requireSsl": True} if settings.tls else {}),
    }
    return Entity("listener", f"{OURS}{whom}", attributes)


def _connectors(deployment: Deployment, place: int) -> Iterator[Entity]:
    settings = deployment.router
    for link in links(len(deployment.qdrouterd)):
        if link.source != place:
            continue
        peer = deployment.qdrouterd[link.target]
        attributes: dict[str, Value] = {
            "host": peer.address,
            "port": str(settings.inter_router_port),
            "role": "inter-router",
            "cost": link.cost,
            "idleTimeoutSeconds": DEAD_PEER,
            "saslMechanisms": "PLAIN",
            "saslUsername": f"{settings.user}@{settings.realm}",
            # A # in a value cuts it short and a quotation mark is an error: a password never stands here.
            "saslPassword": f"file:{PASSWORD}",
            **({"sslProfile": f"{OURS}tls", "verifyHostname": True} if settings.tls else {}),
        }
        yield Entity("connector", f"{OURS}to-{peer.name}", attributes)


def _addresses() -> Iterator[Entity]:
    for target in ("rpc", "notify"):
        for kind, distribution in _DISTRIBUTION.items():
            prefix = f"openstack.org/om/{target}/{kind}"
            yield Entity("address", f"{OURS}{target}-{kind}", {"prefix": prefix, "distribution": distribution})

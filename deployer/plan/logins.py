"""With which users each service host must be let in, by which brokers and routers, and whether it is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import Finding
from deployer.model.deployment import Deployment, Host
from deployer.model.secrets import Secret
from deployer.model.transports import Transport, resolve
from deployer.plan.examined import Examination, Refusal
from deployer.plan.planner import Plan

_HARMLESS = frozenset({"rabbitmq.import", "rabbitmq.join", "rabbitmq.await", "sasl.users", "router.await"})
"""Kinds of steps after which a broker or router listens where it did before."""
_UNTRIED = Refusal(reached=False, problem="the login was not tried")

LOGIN_TIMEOUT = 10.0
"""Seconds for each thing that a login waits for; a broker under load takes a few."""


@dataclass(frozen=True)
class Login:
    """One user at one broker or router, as oslo.messaging's driver logs in; `ca` is "" for the system's, or no TLS."""

    driver: str
    host: str
    port: int
    tls: bool
    ca: str
    user: str
    password: Secret = field(repr=False)
    vhost: str = ""
    realm: str = ""

    @property
    def id(self) -> str:
        """Return a name of its own among a host's logins, without a secret."""
        return f"{self.driver} {self.user} {self.peer} {self.vhost}"

    @property
    def peer(self) -> str:
        """Return host:port of the broker or router."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def wire(self) -> dict[str, Any]:
        """Return the login as the agent takes it, its password in the clear."""
        return {
            "id": self.id,
            "kind": self.driver,
            "host": self.host,
            "port": self.port,
            "tls": self.tls,
            "tls_ca": self.ca or None,
            "user": self.user,
            "password": self.password.reveal(),
            "vhost": self.vhost,
            "realm": self.realm,
        }


def logins(deployment: Deployment, host: Host) -> tuple[Login, ...]:
    """Return the logins of one host; none where no service of the deployment is."""
    found: dict[str, Login] = {}
    for project in deployment.projects:
        if host in project.hosts:
            transports = resolve(deployment, project)
            for transport in (transports.rpc, transports.notify):
                found.update({login.id: login for login in _of(transport)})
    return tuple(found.values())


def logins_args(asked: Iterable[Login]) -> dict[str, Any]:
    """Return the agent's `logins` arguments."""
    return {"logins": [login.wire() for login in asked], "timeout": LOGIN_TIMEOUT}


def by_peer(asked: Iterable[Login]) -> list[list[Login]]:
    """Return the logins of each broker and router together."""
    found: dict[tuple[str, str], list[Login]] = {}
    for login in asked:
        found.setdefault((login.driver, login.peer), []).append(login)
    return list(found.values())


def login_findings(
    deployment: Deployment, examined: Mapping[str, Examination], plan: Plan | None, lost: Collection[str]
) -> list[Finding]:
    """Return, for each service host and each broker and router of its projects, whether its users are let in.

    What hybridmsg makes first is `later`: a gate asks again. Peers on hosts that are `lost` say nothing new.
    """
    peers = {host.address: host.name for host in (*deployment.rabbitmq, *deployment.qdrouterd)}
    changing = changing_backends(plan) if plan else frozenset()
    found = []
    for name, one in examined.items():
        for own in by_peer(logins(deployment, deployment.hosts[name])):
            peer = peers.get(own[0].host, "")
            if peer not in lost:
                found.append(_judge(one, own, examined.get(peer), changes=peer in changing))
    return found


def changing_backends(plan: Plan) -> frozenset[str]:
    """Return the hosts whose broker or router may listen otherwise once the plan is carried out."""
    waves = (wave for wave in plan.waves() if wave.scope.startswith("backend:"))
    return frozenset(
        host
        for wave in waves
        for host, intents in wave.intents.items()
        if any(intent.kind not in _HARMLESS for intent in intents)
    )


def _judge(one: Examination, own: Sequence[Login], peer: Examination | None, *, changes: bool) -> Finding:
    host, first = one.facts.host, own[0]
    what = f"{'router' if first.driver == 'amqp' else 'broker'} {peer.facts.host if peer else first.host}"
    refused = {login: refusal for login in own if (refusal := one.logins.get(login.id, _UNTRIED)) is not None}
    if not refused:
        users = ", ".join(dict.fromkeys(login.user for login in own))
        return Finding(host, "login", "ok", f"{what} lets {users} in")
    problems = "; ".join(dict.fromkeys(refusal.problem for refusal in refused.values()))
    if peer and all(_comes(login, refusal, peer, changes=changes) for login, refusal in refused.items()):
        return Finding(host, "login", "later", f"{what}: the run makes what is missing first ({problems})")
    remedy = "A firewall, the secrets file, or a user made by hand? The log over there tells more"
    return Finding(host, "login", "failed", f"{what}: {problems}", remedy)


def _comes(login: Login, refusal: Refusal, peer: Examination, *, changes: bool) -> bool:
    """Whether hybridmsg makes what this login lacks: the broker or router, its listener, the user, the vhost."""
    if login.driver == "amqp":
        router = peer.facts.router
        if router is None or router.view is None:
            return True
        known = f"{login.user}@{login.realm}" in router.users and router.logins.get(login.user) is None
        return not known if refusal.reached else changes
    broker = peer.facts.rabbitmq or {}
    if not broker.get("running"):
        return True
    held = broker.get("definitions") or {}
    users = {item["name"] for item in held.get("users", [])}
    granted = {(item["user"], item["vhost"]) for item in held.get("permissions", [])}
    known = login.user in users and (login.user, login.vhost) in granted
    return not known if refusal.reached else changes


def _of(transport: Transport) -> list[Login]:
    if transport.driver == "noop":
        return []
    # A router has no vhosts: they are part of an address.
    vhost = transport.vhost if transport.driver == "rabbit" else ""
    return [
        Login(
            driver=transport.driver,
            host=host,
            port=transport.port,
            tls=transport.tls,
            ca=transport.ca,
            user=transport.user,
            password=transport.password,
            vhost=vhost,
            realm=transport.realm,
        )
        for host in transport.hosts
    ]

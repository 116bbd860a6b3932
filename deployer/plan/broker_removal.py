"""How what a run made on brokers leaves them: pure, from the hosts' journals of the run and from what they are now.

What was there before the run is never touched, nor is what somebody is connected to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.model.deployment import Deployment, RabbitCluster
from deployer.plan.cluster import scope
from deployer.plan.cluster_member import CONF, COOKIE, UNIT
from deployer.plan.observed import HostFacts
from deployer.plan.steps import Intent, Wave

Entries = Sequence[Mapping[str, Any]]
"""What a host journaled of the run."""

_DEFAULTS = {"vhosts": {"/"}, "users": {"guest"}}


@dataclass(frozen=True)
class Made:
    """What a run made on the brokers of a cluster, as their journals have it: names only."""

    vhosts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    permissions: tuple[tuple[str, str], ...] = ()
    policies: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, journals: Iterable[Entries]) -> Made:
        """Read the journals; an import that was cut off made what it was about to make, or less."""
        found = [one["after"].get("made") or {} for own in journals for one in own if one["kind"] == "rabbitmq.import"]
        return cls(*(tuple(dict.fromkeys(_each(made.get(kind, ()) for made in found))) for kind in _KINDS))

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return any((self.vhosts, self.users, self.permissions, self.policies))

    def args(self) -> dict[str, Any]:
        """Return it as the agent's `rabbitmq.remove` takes it."""
        return {kind: [list(one) if isinstance(one, tuple) else one for one in getattr(self, kind)] for kind in _KINDS}

    def without(self, vhosts: set[str], users: set[str]) -> Made:
        """Return it without these vhosts and users, and what they need: their users, permissions and policies."""
        kept_by = {user for vhost, user in self.permissions if vhost in vhosts}
        return Made(
            tuple(one for one in self.vhosts if one not in vhosts),
            tuple(one for one in self.users if one not in users | kept_by),
            tuple((vhost, user) for vhost, user in self.permissions if vhost not in vhosts and user not in users),
            tuple((vhost, name) for vhost, name in self.policies if vhost not in vhosts),
        )


_KINDS = ("vhosts", "users", "permissions", "policies")


@dataclass(frozen=True)
class Removal:
    """The waves that take it away, and a line for people for all that stays."""

    waves: tuple[Wave, ...] = ()
    told: tuple[str, ...] = ()


def broker_removal(
    deployment: Deployment, cluster: RabbitCluster, facts: Mapping[str, HostFacts], journals: Mapping[str, Entries]
) -> Removal:
    """Return how a cluster loses what the run made there: its objects, and its packages where it is nobody else's.

    `facts` and `journals` have every host of the cluster.
    """
    hosts = [host.name for host in cluster.hosts]
    made = Made.of(journals[host] for host in hosts)
    seen = [facts[host].rabbitmq or {} for host in hosts]
    connected = [one for own in seen for one in own.get("connections", ())]
    going = made.without({one["vhost"] for one in connected}, {one["user"] for one in connected})
    stays = [f"vhost {name} stays: somebody is connected" for name in made.vhosts if name not in going.vhosts]
    stays += [f"user {name} stays: it is in use" for name in made.users if name not in going.users]
    running = [host for host, own in zip(hosts, seen, strict=True) if own.get("running")]
    waves = []
    if going and running:
        intent = Intent("rabbitmq.remove", {"made": going.args()}, f"remove {_counted(going)}")
        waves.append(Wave(f"{cluster.name}: remove what the run made", scope(cluster.name), {running[0]: (intent,)}))
    elif going:
        stays.append(f"{_counted(going)} stay: no broker runs that could remove them")
    package = deployment.broker.package
    older = [host for host in hosts if not _installed(journals[host], package)]
    problem = f"on {', '.join(older)} the run did not install any" if older else ""
    reason = problem or _kept_because({host: facts[host].rabbitmq or {} for host in hosts}, going)
    if reason:
        stays.append(f"the brokers stay: {reason}")
    else:
        timeout = deployment.timeouts.install
        intents = {host: _uninstall(facts[host], journals[host], package, timeout) for host in hosts}
        waves.append(Wave(f"{cluster.name}: remove the brokers", scope(cluster.name), intents))
    return Removal(tuple(waves), tuple(f"{cluster.name}: {line}" for line in stays))


def _kept_because(brokers: Mapping[str, Mapping[str, Any]], going: Made) -> str:
    """Return why the brokers stay, all of them: one that left a cluster would be missed by the others; "": they go."""
    for host, seen in brokers.items():
        if seen.get("installed") and not seen.get("running"):
            return f"that of {host} does not run, and cannot tell what it holds"
        if seen.get("connections") or seen.get("consumers"):
            return f"somebody is connected to {host}"
        foreign = {
            kind: {one["name"] for one in (seen.get("definitions") or {}).get(kind, ())} - _DEFAULTS[kind] - {*ours}
            for kind, ours in (("vhosts", going.vhosts), ("users", going.users))
        }
        if any(foreign.values()):
            return f"they hold what the run did not make: {', '.join(sorted(set().union(*foreign.values())))}"
    return ""


def _installed(entries: Entries, package: str) -> bool:
    """Whether the run installed the package on this host, which had none before."""
    return any(
        one["kind"] == "package.install" and one["before"].get("versions", {}).get(package, "") is None
        for one in entries
    )


def _uninstall(facts: HostFacts, entries: Entries, package: str, timeout: float) -> tuple[Intent, ...]:
    unit = facts.units.get(UNIT)
    stop = (
        Intent("unit.stop", {"unit": UNIT, "timeout": timeout}, f"stop {UNIT}"),
        Intent("unit.disable", {"unit": UNIT}, f"do not start {UNIT} at boot"),
    )
    packages = {"names": [package], "manager": facts.package_manager, "timeout": timeout}
    new = {
        one["target"]: None
        for one in entries
        if one["kind"] == "file.write" and one["target"] in (CONF, COOKIE) and one["before"].get("sha256") is None
    }
    return (
        *(stop if unit is not None and unit.exists else ()),
        Intent("package.remove", packages, f"remove {package}"),
        *(Intent("file.remove", {"path": path}, f"remove {path}") for path in new),
    )


def _each(lists: Iterable[Iterable[Any]]) -> Iterable[Any]:
    return (tuple(one) if isinstance(one, list) else one for own in lists for one in own)


def _counted(made: Made) -> str:
    return ", ".join(f"{len(getattr(made, kind))} {kind}" for kind in _KINDS if getattr(made, kind))

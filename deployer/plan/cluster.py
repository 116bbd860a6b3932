"""How the hosts of a group become one RabbitMQ cluster: pure, from what they are now.

What a bare host will be after its installation (its cookie, whether it is empty) cannot be known before, so
there may be two rounds: `waves` can be done now; `expected` shows what will follow, planned anew by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment, Host, RabbitCluster
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.broker import BrokerChanges, compare
from deployer.plan.broker_definitions import definitions
from deployer.plan.cluster_intents import (
    await_broker,
    bring_up,
    give_cookie,
    import_definitions,
    install,
    join,
    replace_cookie,
    restart,
    write_conf,
)
from deployer.plan.cluster_member import Broker, obstacles, pick_seed
from deployer.plan.observed import HostFacts
from deployer.plan.render import render
from deployer.plan.steps import Wave


@dataclass(frozen=True)
class ClusterPlan:
    """`waves` can be done now; unless `complete`, read the facts again then: `expected` is what will follow.

    `seed` is the inventory name of the host to gather around. While a broker is down nothing is expected: what it
    holds shows once it runs. `definitions` has a line for people for each change of them.
    """

    seed: str
    waves: tuple[Wave, ...]
    expected: tuple[Wave, ...]
    definitions: tuple[str, ...]
    complete: bool


@dataclass(frozen=True)
class BrokersPlan:
    """The plans of all RabbitMQ clusters, in the deployment's order: each is brought up by itself."""

    clusters: Mapping[str, ClusterPlan]

    @property
    def waves(self) -> tuple[Wave, ...]:
        """Return what can be done now, in all of them."""
        return tuple(wave for plan in self.clusters.values() for wave in plan.waves)

    @property
    def expected(self) -> tuple[Wave, ...]:
        """Return what will follow, in all of them."""
        return tuple(wave for plan in self.clusters.values() for wave in plan.expected)

    @property
    def definitions(self) -> tuple[str, ...]:
        """Return the changes of definitions for people, each with its cluster where there are several."""
        several = len(self.clusters) > 1
        return tuple(
            f"{name}: {line}" if several else line for name, plan in self.clusters.items() for line in plan.definitions
        )


def plan_brokers(deployment: Deployment, facts: Mapping[str, HostFacts]) -> BrokersPlan:
    """Return the plan of every RabbitMQ cluster; raises ConfigurationError with the reasons of all of them."""
    found = {cluster.name: _plan_or_why_not(deployment, cluster, facts) for cluster in deployment.clusters}
    mistakes = [mistake for _, why_not in found.values() for mistake in why_not]
    if mistakes:
        raise ConfigurationError(mistakes)
    return BrokersPlan({name: plan for name, (plan, _) in found.items() if plan is not None})


def _plan_or_why_not(
    deployment: Deployment, cluster: RabbitCluster, facts: Mapping[str, HostFacts]
) -> tuple[ClusterPlan | None, list[Mistake]]:
    try:
        return plan_cluster(deployment, cluster, facts), []
    except ConfigurationError as error:
        return None, error.mistakes


def plan_cluster(deployment: Deployment, cluster: RabbitCluster, facts: Mapping[str, HostFacts]) -> ClusterPlan:
    """Return what makes the cluster's hosts one that holds the definitions of the buses on it.

    Raises ConfigurationError with every reason found not to touch them: content of another cluster, peers
    that do not resolve, a user with another password.
    """
    brokers = [Broker.of(host.name, facts[host.name]) for host in _setup_first(deployment, cluster)]
    seed = pick_seed(brokers)
    changes = compare(definitions(deployment, cluster, seed.version), seed.definitions)
    mistakes = [*obstacles(brokers, seed), *changes.conflicts]
    if mistakes:
        raise ConfigurationError(mistakes)
    nodes = max(len(brokers), len(seed.members))
    conf = render("rabbitmq.conf.j2", broker=deployment.broker, nodes=nodes)
    timeout = deployment.timeouts.step
    # An existing cluster keeps its cookie; a first one gets the deployment's.
    cookie = (seed.cookie if seed.established else None) or deployment.erlang_cookie
    down = any(broker.down for broker in brokers)
    given = [broker for broker in brokers if len(brokers) > 1 and broker.takes_cookie and not down]
    name = cluster.name
    first = _bring_up(name, _Start(deployment, conf, cookie, given), brokers)
    joining = [broker for broker in brokers if broker is not seed and not broker.is_with(seed)]
    members = [seed, *joining] if joining else []
    later = tuple(
        wave
        for wave in (
            _share_cookie(name, [broker for broker in members if broker not in given], cookie, timeout),
            _join(name, joining, seed),
            _reconfigure(name, brokers, conf, timeout),
            _import(name, seed, changes),
        )
        if wave.intents
    )
    told = () if down else tuple(changes.describe())
    if first.intents:
        return ClusterPlan(seed.host, (first,), () if down else later, told, complete=False)
    return ClusterPlan(seed.host, later, (), told, complete=True)


def scope(cluster: str) -> str:
    """Return the scope that a cluster's steps bear in the journal."""
    return f"backend:{cluster}"


def _setup_first(deployment: Deployment, cluster: RabbitCluster) -> list[Host]:
    """Return the hosts, first those that a bus is to be set up on: a new cluster is gathered around the first."""
    buses = [resolve(deployment, project) for project in deployment.projects]
    setup = {bus.setup_host for both in buses for bus in (both.rpc, both.notify) if bus.group == cluster.group}
    # The group's first host is nobody's choice: it is what a bus has that names none.
    setup -= {cluster.hosts[0].name}
    return sorted(cluster.hosts, key=lambda host: host.name not in setup)


@dataclass(frozen=True)
class _Start:
    """What a broker's first start needs: its configuration, and for those in `given` the cookie."""

    deployment: Deployment
    conf: bytes
    cookie: Secret
    given: Sequence[Broker]


def _bring_up(cluster: str, start: _Start, brokers: Sequence[Broker]) -> Wave:
    intents = {}
    deployment, timeout = start.deployment, start.deployment.timeouts.step
    for broker in brokers:
        if not broker.installed:
            # Configuration and cookie before the package, so that the first start has them.
            intents[broker.host] = (
                *write_conf(broker, start.conf),
                *(give_cookie(broker, start.cookie) if broker in start.given else ()),
                *install(broker, deployment.broker.package, deployment.timeouts.install),
                *bring_up(timeout),
            )
        elif not broker.running:
            intents[broker.host] = bring_up(timeout)
    return Wave(f"{cluster}: install and start", scope(cluster), intents)


def _share_cookie(cluster: str, brokers: Sequence[Broker], cookie: Secret, timeout: float) -> Wave:
    intents = {broker.host: replace_cookie(broker, cookie, timeout) for broker in brokers if broker.cookie != cookie}
    return Wave(f"{cluster}: share the Erlang cookie", scope(cluster), intents)


def _join(cluster: str, joining: Sequence[Broker], seed: Broker) -> Wave:
    intents = {broker.host: join(seed.node) for broker in joining}
    return Wave(f"{cluster}: join {seed.host}", scope(cluster), intents, serial=True)


def _reconfigure(cluster: str, brokers: Sequence[Broker], conf: bytes, timeout: float) -> Wave:
    """Only a file that we once wrote is changed: a broker that somebody else installed has none."""
    intents = {
        broker.host: (*write_conf(broker, conf), restart(timeout), await_broker(timeout))
        for broker in brokers
        if broker.installed and broker.conf_sha256 is not None and write_conf(broker, conf)
    }
    return Wave(f"{cluster}: change the configuration", scope(cluster), intents, serial=True)


def _import(cluster: str, seed: Broker, changes: BrokerChanges) -> Wave:
    intents = {seed.host: import_definitions(changes)} if changes else {}
    return Wave(f"{cluster}: import definitions", scope(cluster), intents)

"""How the hosts of the rabbitmq group become one cluster: pure, from what they are now.

What a bare host will be after its installation (its cookie, whether it is empty) cannot be known before, so
there may be two rounds: `waves` can be done now; `expected` shows what will follow, planned anew by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment
from deployer.model.secrets import Secret
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

SCOPE = "backend:rabbitmq"


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


def plan_cluster(deployment: Deployment, facts: Mapping[str, HostFacts]) -> ClusterPlan:
    """Return what makes the rabbitmq hosts one cluster that holds the deployment's definitions.

    Raises ConfigurationError with every reason found not to touch them: content of another cluster, peers
    that do not resolve, a user with another password.
    """
    if not deployment.rabbitmq:
        return ClusterPlan("", (), (), (), complete=True)
    brokers = [Broker.of(host.name, facts[host.name]) for host in deployment.rabbitmq]
    seed = pick_seed(brokers)
    changes = compare(definitions(deployment, seed.version), seed.definitions)
    mistakes = [*obstacles(brokers, seed), *changes.conflicts]
    if mistakes:
        raise ConfigurationError(mistakes)
    conf = render("rabbitmq.conf.j2", port=deployment.broker.port, nodes=max(len(brokers), len(seed.members)))
    timeout = deployment.timeouts.step
    # An existing cluster keeps its cookie; a first one gets the deployment's.
    cookie = (seed.cookie if seed.established else None) or deployment.erlang_cookie
    down = any(broker.down for broker in brokers)
    given = [broker for broker in brokers if len(brokers) > 1 and broker.takes_cookie and not down]
    first = _bring_up(brokers, conf, deployment, given, cookie)
    joining = [broker for broker in brokers if broker is not seed and not broker.is_with(seed)]
    members = [seed, *joining] if joining else []
    later = tuple(
        wave
        for wave in (
            _share_cookie([broker for broker in members if broker not in given], cookie, timeout),
            _join(joining, seed),
            _reconfigure(brokers, conf, timeout),
            _import(seed, changes),
        )
        if wave.intents
    )
    told = () if down else tuple(changes.describe())
    if first.intents:
        return ClusterPlan(seed.host, (first,), () if down else later, told, complete=False)
    return ClusterPlan(seed.host, later, (), told, complete=True)


def _bring_up(
    brokers: Sequence[Broker], conf: bytes, deployment: Deployment, given: Sequence[Broker], cookie: Secret
) -> Wave:
    intents = {}
    timeout = deployment.timeouts.step
    for broker in brokers:
        if not broker.installed:
            # Configuration and cookie before the package, so that the first start has them.
            intents[broker.host] = (
                *write_conf(broker, conf),
                *(give_cookie(broker, cookie) if broker in given else ()),
                *install(broker, deployment.broker.package, deployment.timeouts.install),
                *bring_up(timeout),
            )
        elif not broker.running:
            intents[broker.host] = bring_up(timeout)
    return Wave("rabbitmq: install and start", SCOPE, intents)


def _share_cookie(brokers: Sequence[Broker], cookie: Secret, timeout: float) -> Wave:
    intents = {broker.host: replace_cookie(broker, cookie, timeout) for broker in brokers if broker.cookie != cookie}
    return Wave("rabbitmq: share the Erlang cookie", SCOPE, intents)


def _join(joining: Sequence[Broker], seed: Broker) -> Wave:
    intents = {broker.host: join(seed.node) for broker in joining}
    return Wave(f"rabbitmq: join {seed.host}", SCOPE, intents, serial=True)


def _reconfigure(brokers: Sequence[Broker], conf: bytes, timeout: float) -> Wave:
    """Only a file that we once wrote is changed: a broker that somebody else installed has none."""
    intents = {
        broker.host: (*write_conf(broker, conf), restart(timeout), await_broker(timeout))
        for broker in brokers
        if broker.installed and broker.conf_sha256 is not None and not broker.has_conf(conf)
    }
    return Wave("rabbitmq: change the configuration", SCOPE, intents, serial=True)


def _import(seed: Broker, changes: BrokerChanges) -> Wave:
    intents = {seed.host: import_definitions(changes)} if changes else {}
    return Wave("rabbitmq: import definitions", SCOPE, intents)

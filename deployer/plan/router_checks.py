"""What the routers and the broker tell in a verification: who is attached where, who is left behind. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.plan.bus_today import rpc_topics
from deployer.plan.checks import Check
from deployer.plan.expected import RpcServer
from deployer.plan.observed import HostFacts
from deployer.plan.router_facts import Fanout, FanoutPair, RouterFacts
from deployer.plan.rpc_address import RpcAddress, is_rpc_queue

REPLIES = "reply_"
"""What RabbitMQ's queues for replies to RPC calls are called (oslo.messaging, _drivers/amqpdriver.py)."""


def router_checks(deployment: Deployment, facts: Mapping[str, HostFacts]) -> list[Check]:
    """Return a check for each router: it tells who is attached, knows all others, and lets every user in."""
    return [
        _router_check(host.name, facts[host.name].router, len(deployment.qdrouterd)) for host in deployment.qdrouterd
    ]


def subscription_checks(
    project: ProjectDeployment, servers: Iterable[RpcServer], facts: Iterable[HostFacts]
) -> list[Check]:
    """Return, for each server that must be there, whether any router has its subscription."""
    views = {fact.host: fact.router.view for fact in facts if fact.router and fact.router.view}
    seen: dict[tuple[str, str], str] = {}
    for host, view in views.items():
        addresses = (RpcAddress.parse(link.address) for link in view.links if link.dir == "out")
        for one in addresses:
            if one is not None and one.cast == "unicast" and one.is_in(project.vhost):
                seen.setdefault((one.topic, one.server), host)
    return [_subscription(server, seen.get((server.topic, server.server)), list(views)) for server in servers]


def old_bus_checks(
    deployment: Deployment, projects: Iterable[ProjectDeployment], consumers: Sequence[Mapping[str, str]] | None
) -> list[Check]:
    """Return, for each of these projects, whose RPC is on routers, that nobody uses RabbitMQ for its RPC any more.

    Whoever waits for replies there counts too, where the vhost is the project's alone. `consumers` is None when no
    broker tells.
    """
    if consumers is None:
        return [
            Check(one.name, "old bus", "RPC on RabbitMQ", ok=False, detail="no broker tells", asked_from="rabbitmq")
            for one in projects
        ]
    found = []
    for project in projects:
        topics = rpc_topics(project)
        alone = sum(one.vhost == project.vhost for one in deployment.projects) == 1 and project.vhost != "/"
        queues = [one["queue"] for one in consumers if one["vhost"] == project.vhost]
        left = {queue for queue in queues if is_rpc_queue(queue, topics) or (alone and queue.startswith(REPLIES))}
        detail = f"still consumed there: {', '.join(sorted(left))}" if left else "no consumer left"
        found.append(Check(project.name, "old bus", "RPC on RabbitMQ", not left, detail, "rabbitmq"))
    return found


def fanout_checks(deployment: Deployment, fanout: Fanout) -> list[Check]:
    """Return whether fanout arrives exactly once between all routers: one check, or one for each pair that fails."""
    names = {host.address: host.name for host in deployment.qdrouterd}
    hub = deployment.qdrouterd[0].name
    if fanout.problem or not fanout.wrong:
        detail = fanout.problem or f"exactly once at every router, {fanout.sent} from each"
        return [Check("", "fanout", "all routers", fanout.exactly_once, detail, hub)]
    return [
        Check(
            "",
            "fanout",
            f"{names.get(pair.source, pair.source)} to {names.get(pair.target, pair.target)}",
            False,
            f"each message came {_copies(pair)} times",
            hub,
        )
        for pair in fanout.wrong
    ]


def _router_check(host: str, router: RouterFacts | None, routers: int) -> Check:
    view = router.view if router else None
    if router is None or view is None:
        problem = router.problem if router else ""
        return Check("", "router", host, False, problem or "it does not tell who is attached", host)
    problems = [f"{user} cannot log in: {why}" for user, why in sorted(router.logins.items()) if why is not None]
    if len(view.nodes) < routers:
        problems.insert(0, f"knows {len(view.nodes)} of {routers} routers: {', '.join(view.nodes)}")
    attached = len({one.container for one in view.connections if one.openstack})
    detail = f"{view.id}, {view.version}, {attached} connections of services"
    return Check("", "router", host, not problems, "; ".join([detail, *problems]), host)


def _subscription(server: RpcServer, router: str | None, routers: list[str]) -> Check:
    detail = f"attached at {router}" if router else "no router has a subscription of it"
    return Check(server.project, "router", server.address, router is not None, detail, router or ", ".join(routers))


def _copies(pair: FanoutPair) -> str:
    return str(pair.fewest) if pair.fewest == pair.most else f"{pair.fewest} to {pair.most}"

"""Which bus a project's RPC is on today, by its units: what is drained before a switch, who is seen there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.model.deployment import Deployment, Host, ProjectDeployment, RabbitCluster
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport
from deployer.plan.effective import Effective


@dataclass(frozen=True)
class RpcBus:
    """A bus as a transport URL names it: `driver` is oslo.messaging's name, `hosts` are in lower case."""

    driver: str
    hosts: tuple[str, ...]
    vhost: str

    @classmethod
    def of(cls, url: Secret) -> RpcBus | None:
        """Read a transport URL; None when it cannot be read, or names no host."""
        try:
            seen = TransportURL.parse(url.reveal())
        except ValueError:
            return None
        hosts = tuple(host.lower() for host, _ in seen.hosts)
        return cls(seen.driver, hosts, seen.vhost) if hosts else None

    def is_on(self, bus: Transport) -> bool:
        """Whether it is this transport's, perhaps with other members: driver and vhost, and any host in common."""
        return self.is_same(RpcBus(bus.driver, tuple(host.lower() for host in bus.hosts), bus.vhost))

    def is_same(self, other: RpcBus) -> bool:
        """Whether both are one bus, perhaps with other members: driver and vhost, and any host in common."""
        alike = (self.driver, self.vhost) == (other.driver, other.vhost)
        return alike and not set(self.hosts).isdisjoint(other.hosts)

    def cluster(self, deployment: Deployment) -> RabbitCluster | None:
        """Return the deployment's RabbitMQ cluster that serves it, in whatever vhost; None for any other bus."""
        if self.driver != "rabbit":
            return None
        addresses = {cluster: {host.address.lower() for host in cluster.hosts} for cluster in deployment.clusters}
        return next((cluster for cluster, own in addresses.items() if not own.isdisjoint(self.hosts)), None)

    def is_brokers(self, deployment: Deployment) -> bool:
        """Whether the deployment's RabbitMQ serves it, in whatever vhost."""
        return self.cluster(deployment) is not None

    def served_by(self, deployment: Deployment) -> tuple[Host, ...]:
        """Return the hosts of the inventory that serve it; none for a bus that is not ours.

        Whatever group they are in: who goes back to RabbitMQ takes the routers out of theirs first.
        """
        return tuple(host for host in deployment.hosts.values() if host.address.lower() in self.hosts)


def cut_off(bus: RpcBus, deployment: Deployment) -> tuple[Host, ...]:
    """Return the bus's routers that leave the group and that those that stay would lose as soon as they change.

    The others link to the hub, the first, which keeps no link of its own; and one that stays alone has no mesh.
    """
    serving = bus.served_by(deployment) if bus.driver == "amqp" else ()
    leaving = tuple(host for host in serving if host not in deployment.qdrouterd)
    if not deployment.qdrouterd or len(leaving) == len(serving):
        return ()
    alone = len(deployment.qdrouterd) == 1
    return tuple(host for host in leaving if alone or host.address.lower() == bus.hosts[0])


def rpc_bus(conf: Effective) -> RpcBus | None:
    """Return the bus that a unit's files name for RPC, None when they name none that can be read."""
    return RpcBus.of(Secret(conf.text("DEFAULT", "transport_url")))


def router_user(conf: Effective) -> str:
    """Return the name that a unit logs in to routers with, like nova@openstack; "" when its files name no router.

    The driver appends the realm to a plain name (_drivers/amqp1_driver/controller.py).
    """
    try:
        url = TransportURL.parse(conf.text("DEFAULT", "transport_url"))
    except ValueError:
        return ""
    if url.driver != "amqp":
        return ""
    realm = conf.text("oslo_messaging_amqp", "sasl_default_realm")
    return f"{url.user}@{realm}" if realm and "@" not in url.user else url.user


def rpc_topics(project: ProjectDeployment) -> tuple[str, ...]:
    """Return every RPC topic that the project's servers take work from: those whose queues must be empty."""
    units = project.project.units
    return tuple(dict.fromkeys(topic for unit in units for topic in (*unit.topics, *unit.inner)))

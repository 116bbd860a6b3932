"""Transports: which bus each project speaks, by group membership (openstack-ansible's oslomsg_* rule)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL


@dataclass(frozen=True)
class Transport:
    """One bus as one project sees it: `hosts` all answer on `port`; `driver` is oslo.messaging's name.

    `noop` is the notifications of a project that sends none: it has no hosts and no URL. `group` is that of the hosts,
    "" when they are not deployed here; `setup_host` the one of them that a new cluster is gathered around. Routers know
    the user as user@`realm`. With TLS, `ca` is the file on the services' hosts to verify the servers with, and
    `ssl_version` the protocol that a RabbitMQ URL asks for.
    """

    driver: Literal["rabbit", "amqp", "noop"]
    hosts: tuple[str, ...]
    port: int
    tls: bool
    vhost: str
    user: str
    password: Secret
    realm: str = ""
    ca: str = ""
    group: str = ""
    setup_host: str = ""
    ssl_version: str = ""

    def url(self) -> Secret:
        """Return the oslo.messaging transport URL; ValueError for `noop`, which has none.

        User, password, port and one query are always there and names are lower-case: nova formats its cell
        templates from its parts, and writes "None" for a missing one (nova: objects/cell_mapping.py).
        """
        if self.driver == "noop":
            raise ValueError("the driver noop has no transport URL")
        return TransportURL(
            driver=self.driver,
            hosts=tuple((host.lower(), self.port) for host in self.hosts),
            user=self.user,
            password=self.password,
            vhost=self.vhost,
            query=self._query(),
        ).render()

    def _query(self) -> tuple[tuple[str, str], ...]:
        """Return the query; options of the rabbit driver alone, for the amqp driver fails to load with them.

        oslo_messaging/_drivers/common.py: ConfigOptsProxy._validate_query.
        """
        query = [("ssl", "1" if self.tls else "0")]
        if self.tls and self.driver == "rabbit":
            query += [("ssl_version", self.ssl_version), ("ssl_ca_file", self.ca)]
        return tuple((name, value) for name, value in query if value)


@dataclass(frozen=True)
class Transports:
    """The two buses of a project."""

    rpc: Transport
    notify: Transport


def rabbit_password(password: Secret) -> Secret:
    """Return the password as a RabbitMQ user must have it for services to log in: each / written %2F.

    oslo.messaging's rabbit driver hands the password to kombu through urllib's quote(), which leaves a / as it is, and
    kombu takes the / for the end of the host (impl_rabbit.py of 14.0.3 to 18.3.1): no service can log in with one.
    """
    return Secret(password.reveal().replace("/", "%2F"))


def resolve(deployment: Deployment, project: ProjectDeployment) -> Transports:
    """Return the buses of one project, hosts in their group's order: RPC over the routers, where there are any.

    Notifications are on the rabbitmq group, always: a router stores nothing.
    """
    rabbit = Transport(
        driver="rabbit",
        hosts=tuple(host.address for host in deployment.rabbitmq),
        port=deployment.broker.port,
        tls=False,
        vhost=project.vhost,
        user=project.user,
        password=rabbit_password(project.password),
        group=deployment.clusters[0].group if deployment.clusters else "",
        setup_host=deployment.rabbitmq[0].name if deployment.rabbitmq else "",
    )
    return Transports(rpc=_routers(deployment, project) if deployment.qdrouterd else rabbit, notify=rabbit)


def _routers(deployment: Deployment, project: ProjectDeployment) -> Transport:
    router = deployment.router
    return Transport(
        driver="amqp",
        hosts=tuple(host.address for host in deployment.qdrouterd),
        port=router.port,
        tls=router.tls is not None,
        vhost=project.vhost,
        # Plain: the driver appends the realm itself (sasl_default_realm), and a template of nova keeps its parts.
        user=project.user,
        password=project.password,
        realm=router.realm,
        ca=router.tls.ca if router.tls else "",
        group="qdrouterd",
        setup_host=deployment.qdrouterd[0].name,
    )

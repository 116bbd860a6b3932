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

    Routers know the user as user@`realm`. `ca`, with TLS, is the file on the services' hosts to verify routers with.
    """

    driver: Literal["rabbit", "amqp"]
    hosts: tuple[str, ...]
    port: int
    tls: bool
    vhost: str
    user: str
    password: Secret
    realm: str = ""
    ca: str = ""

    def url(self) -> Secret:
        """Return the oslo.messaging transport URL.

        User, password, port and one query are always there and names are lower-case: nova formats its cell
        templates from its parts, and writes "None" for a missing one (nova: objects/cell_mapping.py).
        """
        return TransportURL(
            driver=self.driver,
            hosts=tuple((host.lower(), self.port) for host in self.hosts),
            user=self.user,
            password=self.password,
            vhost=self.vhost,
            query=(("ssl", "1" if self.tls else "0"),),
        ).render()


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
    )

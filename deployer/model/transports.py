"""Transports: which bus each project speaks, made from openstack-ansible's variables as osa_chain.py resolves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.osa_chain import BusValues, bus_values
from deployer.model.osa_variables import BUSES
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL

Driver = Literal["rabbit", "amqp", "noop"]
_DRIVERS: dict[str, Driver] = {"rabbit": "rabbit", "amqp": "amqp", "none": "noop"}


@dataclass(frozen=True)
class Transport:
    """One bus as one project sees it: `hosts` all answer on `port`; `driver` is oslo.messaging's name.

    `noop` is the notifications of a project that sends none: it has no hosts and no URL. `group` is that of the hosts,
    "" when they are not deployed here; `setup_host` the one of them that a new cluster is gathered around. Routers know
    the user as user@`realm`. With TLS, `ca` is the file on the services' hosts to verify the servers with, and
    `ssl_version` the protocol that a RabbitMQ URL asks for.
    """

    driver: Driver
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
    """Return the buses of one project as the variables have them, hosts in their group's order.

    Without variables RPC is on the routers, where there are any, and notifications are on the rabbitmq group always: a
    router stores nothing.
    """
    rpc, notify = (_transport(deployment, bus_values(deployment, project, bus)) for bus in BUSES)
    return Transports(rpc, notify)


def elsewhere(deployment: Deployment) -> Iterator[str]:
    """Yield a line for people for each bus whose servers are not deployed here."""
    for project in deployment.projects:
        transports = resolve(deployment, project)
        for what, bus in (("RPC", transports.rpc), ("notifications", transports.notify)):
            if bus.driver != "noop" and not bus.group:
                servers = f"{', '.join(bus.hosts)} (port {bus.port})"
                needed = f"user {bus.user} and vhost {bus.vhost} must be there"
                yield f"{project.name}: {what} over {servers}, not deployed here: {needed}"


def unheard(deployment: Deployment) -> Iterator[str]:
    """Yield a line for people for each listener that projects without notifications tell nothing any more."""
    silent = [one.name for one in deployment.projects if resolve(deployment, one).notify.driver == "noop"]
    for project in deployment.projects:
        listener = project.project.listener
        if listener is None:
            continue
        names = [one.name for one in deployment.projects if one.project.notifies and one.name in silent]
        if listener.own and project.name in silent:
            yield f"{project.name}: its listener hears nothing: it has no notification bus (transport: none)"
        elif not listener.own and names:
            yield f"{project.name}: hears nothing of {', '.join(names)}: they send no notifications (transport: none)"


def _transport(deployment: Deployment, values: BusValues) -> Transport:
    driver = _DRIVERS[values.transport.value]
    password = values.password.value
    return Transport(
        driver=driver,
        hosts=values.servers.value,
        port=values.port.value,
        tls=values.use_ssl.value,
        vhost=values.vhost.value,
        # Plain: the amqp driver appends the realm itself (sasl_default_realm), and a template of nova keeps its parts.
        user=values.userid.value,
        password=rabbit_password(password) if driver == "rabbit" else password,
        realm=deployment.router.realm if driver == "amqp" else "",
        ca=values.ssl_ca_file.value if values.use_ssl.value else "",
        group=values.host_group.value,
        setup_host=values.setup_host.value,
        ssl_version=values.ssl_version.value,
    )

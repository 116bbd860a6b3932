"""How each variable of a bus gets its value: openstack-ansible's chain of defaults, every link with where it is from.

A project's own variable goes before the general one, and that before what follows from groups and settings. Unlike
there, a general value that was meant for another kind of transport is not inherited: a project that is on RabbitMQ
while others are on routers gets RabbitMQ's hosts and port, not theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from deployer.model.deployment import QDROUTERD, RABBITMQ, Deployment, Policy, ProjectDeployment, Sourced
from deployer.model.osa_variables import Bus, variable
from deployer.model.secrets import Secret

DEFAULT = "default"
SSL_VERSION = "TLSv1_2"
GROUPS = {"rabbit": RABBITMQ, "amqp": QDROUTERD, "none": ""}
"""The group that has the servers of a transport unless a variable names another."""
PORTS = {False: 5672, True: 5671}


@dataclass(frozen=True)
class BusValues:
    """Every variable of one bus of one project, with where it came from; for the transport `none` most are empty.

    `host_group` is "" where the servers are not deployed here.
    """

    transport: Sourced[str]
    host_group: Sourced[str]
    setup_host: Sourced[str]
    servers: Sourced[tuple[str, ...]]
    port: Sourced[int]
    use_ssl: Sourced[bool]
    userid: Sourced[str]
    password: Sourced[Secret]
    vhost: Sourced[str]
    ssl_version: Sourced[str]
    ssl_ca_file: Sourced[str]
    policies: Sourced[tuple[Policy, ...]]

    def items(self) -> Iterator[tuple[str, Sourced[Any]]]:
        """Yield each variable's field and value, in the order of this class."""
        for field in fields(self):
            yield field.name, getattr(self, field.name)


def bus_values(deployment: Deployment, project: ProjectDeployment, bus: Bus) -> BusValues:
    """Return the variables of one bus of one project: a pure function of the deployment.

    Whether they go together is checked where an inventory is read (transport_rules.py).
    """
    chain = _Chain(deployment, project, bus)
    return BusValues(
        transport=chain.transport,
        host_group=chain.host_group,
        setup_host=chain.setup_host(),
        servers=chain.servers(),
        port=chain.port(),
        use_ssl=chain.use_ssl,
        userid=chain.login("userid", "user", project.user),
        password=chain.password(),
        vhost=chain.login("vhost", "vhost", project.vhost),
        ssl_version=chain.ssl_version(),
        ssl_ca_file=chain.ssl_ca_file(),
        policies=chain.policies(),
    )


class _Chain:
    """The links for one bus of one project."""

    def __init__(self, deployment: Deployment, project: ProjectDeployment, bus: Bus) -> None:
        self._deployment, self._project, self._bus = deployment, project, bus

    @cached_property
    def transport(self) -> Sourced[str]:
        return self._own("transport") or self._general_transport

    @cached_property
    def host_group(self) -> Sourced[str]:
        own, general = self._own("host_group"), self._inherited("host_group")
        usual = Sourced(GROUPS[self.transport.value], DEFAULT)
        if own:
            return own
        if servers := self._written_servers:
            return self._group_of(servers, general or usual)
        return general or usual

    @cached_property
    def use_ssl(self) -> Sourced[bool]:
        return self._written("use_ssl") or self._tls

    def setup_host(self) -> Sourced[str]:
        members = self._deployment.members(self.host_group.value)
        usual = Sourced(members[0].name, f"group {self.host_group.value}") if members else _nothing()
        return self._own("setup_host") or usual

    def servers(self) -> Sourced[tuple[str, ...]]:
        group = self.host_group.value
        addresses = tuple(host.address for host in self._deployment.members(group))
        return self._written_servers or Sourced(addresses, f"group {group}" if group else DEFAULT)

    def port(self) -> Sourced[int]:
        if self.transport.value == "none":
            return Sourced(0, DEFAULT)
        return self._written("port") or self._usual_port()

    def login(self, field: str, setting: str, usual: str) -> Sourced[str]:
        """Return user or vhost: the bus's own, else RPC's, else that of the project's settings."""
        rpc = self._deployment.variables.get(variable("rpc", field, self._project.name))
        return self._own(field) or rpc or Sourced(usual, self._setting(f"projects.{self._project.name}.{setting}"))

    def password(self) -> Sourced[Secret]:
        project, sources = self._project, self._deployment.sources
        own = self._bus == "notify" and bool(project.notify_password)
        key = variable("notify" if own else "rpc", "password", project.name)
        secret = project.notify_password if own else project.password
        return Sourced(secret, sources.get(key, "secrets file"))

    def ssl_version(self) -> Sourced[str]:
        if self.transport.value == "amqp":
            return Sourced("", "the amqp driver has no such option")
        return self._written("ssl_version") or Sourced(SSL_VERSION if self.use_ssl.value else "", DEFAULT)

    def ssl_ca_file(self) -> Sourced[str]:
        tls = self._settings.tls if self.host_group.value and self.use_ssl.value else None
        usual = Sourced(tls.ca, self._setting(f"{self._room}.tls.ca")) if tls else _nothing()
        return self._written("ssl_ca_file") or usual

    def policies(self) -> Sourced[tuple[Policy, ...]]:
        if self.transport.value != "rabbit" or not self.host_group.value:
            return Sourced((), DEFAULT)
        usual = Sourced(self._deployment.broker.policies, self._setting("rabbitmq.policies"))
        return self._general("policies") or usual

    @cached_property
    def _general_transport(self) -> Sourced[str]:
        if general := self._general("transport"):
            return general
        if self._bus == "rpc" and self._deployment.qdrouterd:
            return Sourced("amqp", f"group {QDROUTERD}")
        return Sourced("rabbit", DEFAULT)

    @cached_property
    def _written_servers(self) -> Sourced[tuple[str, ...]] | None:
        # Whoever names a group of its own does not mean the servers that were named for all.
        return self._own("servers") or (None if self._own("host_group") else self._inherited("servers"))

    @property
    def _settings(self) -> Any:
        return self._deployment.router if self.transport.value == "amqp" else self._deployment.broker

    @property
    def _room(self) -> str:
        return "qdrouterd" if self.transport.value == "amqp" else "rabbitmq"

    @property
    def _tls(self) -> Sourced[bool]:
        if not self.host_group.value:
            return Sourced(value=False, source=DEFAULT)
        return Sourced(self._settings.tls is not None, self._setting(f"{self._room}.tls"))

    def _usual_port(self) -> Sourced[int]:
        deployment, tls = self._deployment, self.use_ssl.value
        if not self.host_group.value:
            return Sourced(PORTS[tls], DEFAULT)
        if self.transport.value == "amqp":
            return Sourced(deployment.router.port, self._setting("qdrouterd.port"))
        port = deployment.broker.port_for(tls=tls)
        written = port == deployment.broker.port
        return Sourced(port or PORTS[tls], self._setting("rabbitmq.port") if written else DEFAULT)

    def _group_of(self, servers: Sourced[tuple[str, ...]], usual: Sourced[str]) -> Sourced[str]:
        """Return the usual group where any of the servers is a host of the inventory, else none."""
        ours = {host.address.lower() for host in self._deployment.hosts.values()}
        return usual if ours.intersection(map(str.lower, servers.value)) else Sourced("", servers.source)

    def _own(self, field: str) -> Sourced[Any] | None:
        return self._deployment.variables.get(variable(self._bus, field, self._project.name))

    def _general(self, field: str) -> Sourced[Any] | None:
        return self._deployment.variables.get(variable(self._bus, field))

    def _inherited(self, field: str) -> Sourced[Any] | None:
        """Return the general value, unless it was meant for another kind of transport."""
        return self._general(field) if self._general_transport.value == self.transport.value else None

    def _written(self, field: str) -> Sourced[Any] | None:
        return self._own(field) or self._inherited(field)

    def _setting(self, path: str) -> str:
        return self._deployment.sources.get(path, DEFAULT)


def _nothing() -> Sourced[str]:
    return Sourced("", DEFAULT)

"""The deployment: what the operator's inventory says, validated and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from deployer.model.catalogue import Project
from deployer.model.secrets import Secret

RABBITMQ, QDROUTERD = "rabbitmq", "qdrouterd"
"""The groups that are the roles of brokers and routers."""

T = TypeVar("T")
PolicyValue = str | int | float | bool | list[str]


@dataclass(frozen=True)
class Host:
    """One host: SSH answers at `address`:`port`, brokers at `address`; it logs in as `username`.

    `groups` are all groups, nested ones too, in Nornir's order of inheritance.
    """

    name: str
    address: str
    port: int
    username: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Sourced(Generic[T]):
    """A value, and where it came from, for people: a file and line, a group, the secrets file, a default."""

    value: T
    source: str


@dataclass(frozen=True)
class Policy:
    """One RabbitMQ policy, laid on every project's vhost."""

    name: str
    pattern: str
    definition: Mapping[str, PolicyValue]
    apply_to: Literal["all", "queues", "exchanges"] = "all"
    priority: int = 0


@dataclass(frozen=True)
class ServerTls:
    """TLS on the listeners of brokers or routers: absolute paths on their hosts; `ca` is on the services' hosts too.

    The files are not looked at beforehand, for a private key must not travel: without them a router starts and its
    login fails, and a broker does not start.
    """

    certificate: str
    key: str
    ca: str


@dataclass(frozen=True)
class BrokerSettings:
    """The RabbitMQ brokers: `port` for clients, `package` to install, `policies` for each vhost.

    With `tls`, `port` (5671 in openstack-ansible) is the one with TLS, and the plain one stays beside it: services that
    are not switched yet are on it.
    """

    port: int = 5672
    package: str = "rabbitmq-server"
    policies: tuple[Policy, ...] = ()
    tls: ServerTls | None = None

    @property
    def plain_port(self) -> int | None:
        """Return the port without TLS; None where TLS has taken the only one."""
        if self.tls is None:
            return self.port
        return None if self.port == BrokerSettings.port else BrokerSettings.port

    def port_for(self, *, tls: bool) -> int | None:
        """Return the port where brokers take clients with or without TLS, None when they take none so."""
        if not tls:
            return self.plain_port
        return self.port if self.tls else None


@dataclass(frozen=True)
class RabbitCluster:
    """The hosts of one group, in their order, as one RabbitMQ cluster."""

    group: str
    hosts: tuple[Host, ...]

    @property
    def name(self) -> str:
        """Return what people and the journal call it: its group."""
        return self.group


@dataclass(frozen=True)
class RouterSettings:
    """The qdrouterd routers: `port` for clients, `inter_router_port` for each other, both TLS or neither.

    `package` is installed from a repository, or from `package_file` on this machine. `user` is the administrator:
    the links between routers and every management question log in as it. The ports are openstack-ansible's
    (31459 and 31460; with TLS 31461 and 31462).
    """

    package: str = "qdrouterd"
    package_file: Path | None = None
    port: int = 31459
    inter_router_port: int = 31460
    tls: ServerTls | None = None
    realm: str = "openstack"
    user: str = "hybridmsg"


@dataclass(frozen=True)
class Timeouts:
    """Seconds: one `step`, one package `install`, one `gate`, and the work in flight before a switch (`drain`).

    `confirm`: a host that is cut off in a switch puts its part of the project back this long after the begin. `settle`:
    what was started for a switch must run this long before the project is confirmed.
    """

    step: float = 120
    install: float = 900
    gate: float = 90
    drain: float = 60
    confirm: float = 120
    settle: float = 8


@dataclass(frozen=True)
class Limits:
    """`parallel`: hosts worked on at once."""

    parallel: int = 20


@dataclass(frozen=True)
class Retention:
    """What is remembered of runs, here and on the hosts: the newest `runs` of them, none older than `days`.

    A run that may still be undone is remembered all the same.
    """

    runs: int = 20
    days: int = 90


@dataclass(frozen=True)
class ProjectDeployment:
    """One project with at least one host, in the order of hosts.yaml.

    `vhost`, `user` and `password` are those of RPC, and of notifications where the variables name no others;
    `notify_password` is empty where it is RPC's.
    """

    name: str
    project: Project
    hosts: tuple[Host, ...]
    vhost: str
    user: str
    password: Secret
    notify: Literal["keep", "rabbitmq"] = "keep"
    notify_password: Secret = field(default_factory=lambda: Secret(""))


@dataclass(frozen=True)
class Deployment:
    """All that the operator asks for; hosts are in the order of hosts.yaml, projects in the catalogue's.

    `clusters` are the groups that a project's RPC or notifications are on, each a RabbitMQ cluster of its own; and the
    group rabbitmq, where it has hosts of its own, also when no bus is on it any more.
    The first of `qdrouterd` is the hub of the routers. `router_password` is empty where there never were any.
    `generated_secrets` are the keys that had no value in the secrets file before and now have one; `waive` names what
    a preflight is to let pass, `left_out` the hosts that a run goes without. `variables` are openstack-ansible's, as
    they were written; `sources` has, for each setting that was written ("rabbitmq.port") and each secret's key, where
    it came from.
    """

    directory: Path
    hosts: dict[str, Host]
    clusters: tuple[RabbitCluster, ...]
    qdrouterd: tuple[Host, ...]
    projects: tuple[ProjectDeployment, ...]
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    router: RouterSettings = field(default_factory=RouterSettings)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    journal: Retention = field(default_factory=Retention)
    erlang_cookie: Secret = field(default_factory=lambda: Secret(""))
    router_password: Secret = field(default_factory=lambda: Secret(""))
    generated_secrets: tuple[str, ...] = ()
    waive: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    variables: Mapping[str, Sourced[Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def rabbitmq(self) -> tuple[Host, ...]:
        """Return the hosts of all RabbitMQ clusters."""
        return tuple(dict.fromkeys(host for cluster in self.clusters for host in cluster.hosts))

    def cluster_of(self, host: Host) -> RabbitCluster | None:
        """Return the RabbitMQ cluster that a host belongs to, None for a host without a broker."""
        return next((cluster for cluster in self.clusters if host in cluster.hosts), None)

    def members(self, group: str) -> tuple[Host, ...]:
        """Return the hosts of a group, in the order of hosts.yaml."""
        if group == QDROUTERD:
            return self.qdrouterd
        cluster = next((cluster for cluster in self.clusters if cluster.group == group), None)
        return cluster.hosts if cluster else tuple(host for host in self.hosts.values() if group in host.groups)

    def without(self, name: str) -> Deployment:
        """Return the deployment less one service host; a project with no other host is left out with it."""
        projects = [
            replace(project, hosts=tuple(host for host in project.hosts if host.name != name))
            for project in self.projects
        ]
        hosts = {key: host for key, host in self.hosts.items() if key != name}
        left = tuple(project for project in projects if project.hosts)
        return replace(self, hosts=hosts, projects=left, left_out=(*self.left_out, name))

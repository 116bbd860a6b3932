"""The deployment: what the operator's inventory says, validated and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deployer.model.catalogue import Project
from deployer.model.secrets import Secret

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
class Policy:
    """One RabbitMQ policy, laid on every project's vhost."""

    name: str
    pattern: str
    definition: Mapping[str, PolicyValue]
    apply_to: Literal["all", "queues", "exchanges"] = "all"
    priority: int = 0


@dataclass(frozen=True)
class BrokerSettings:
    """The RabbitMQ brokers: `port` for clients, `package` to install, `policies` for each vhost."""

    port: int = 5672
    package: str = "rabbitmq-server"
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True)
class RouterTls:
    """TLS on every listener of the routers: absolute paths on their hosts; `ca` is on the services' hosts too.

    The files are not looked at beforehand, for a private key must not travel: a router starts without them, and the
    login after the start fails.
    """

    certificate: str
    key: str
    ca: str


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
    tls: RouterTls | None = None
    realm: str = "openstack"
    user: str = "hybridmsg"


@dataclass(frozen=True)
class Timeouts:
    """Seconds: one `step`, one package `install`, one `gate`, and the work in flight before a switch (`drain`)."""

    step: float = 120
    install: float = 900
    gate: float = 90
    drain: float = 60


@dataclass(frozen=True)
class Limits:
    """`parallel`: hosts worked on at once."""

    parallel: int = 20


@dataclass(frozen=True)
class ProjectDeployment:
    """One project with at least one host, in the order of hosts.yaml."""

    name: str
    project: Project
    hosts: tuple[Host, ...]
    vhost: str
    user: str
    password: Secret
    notify: Literal["keep", "rabbitmq"] = "keep"


@dataclass(frozen=True)
class Deployment:
    """All that the operator asks for; hosts are in the order of hosts.yaml, projects in the catalogue's.

    The first of `qdrouterd` is the hub of the routers. `router_password` is empty where there never were any.
    `generated_secrets` are the keys that had no value in the secrets file before and now have one.
    """

    directory: Path
    hosts: dict[str, Host]
    rabbitmq: tuple[Host, ...]
    qdrouterd: tuple[Host, ...]
    projects: tuple[ProjectDeployment, ...]
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    router: RouterSettings = field(default_factory=RouterSettings)
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    erlang_cookie: Secret = field(default_factory=lambda: Secret(""))
    router_password: Secret = field(default_factory=lambda: Secret(""))
    generated_secrets: tuple[str, ...] = ()

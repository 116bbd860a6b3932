"""The shapes of hosts.yaml, groups.yaml, defaults.yaml (Nornir's SimpleInventory) and `data.hybridmsg`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from deployer.model.deployment import BrokerSettings, Limits, Retention, RouterSettings, Timeouts

CONNECTION = "hybridmsg_ssh"
SSH_PORT = 22
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")


def _address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _HOST.fullmatch(value) or re.fullmatch(r"[0-9.]+", value):
            hint = ". The port goes in a line of its own, port:" if re.search(r":\d+$", value) else ""
            raise ValueError(f"is neither an IP address nor a host name{hint}") from None
    return value


def _no_password(value: object) -> object:
    if value is not None:
        raise ValueError(
            "a password in the clear is refused. Delete it: log in with a key "
            f"(connection_options.{CONNECTION}.extras.key_file) or ssh-agent"
        )
    return value


def _jump_host(value: str) -> str:
    """`name` or `user@host:port`; whether the inventory has the name is a cross-check."""
    if "@" not in value and ":" not in value:
        return value
    user, at, rest = value.rpartition("@")
    host, colon, port = rest.rpartition(":") if rest.count(":") == 1 else (rest, "", "")
    if at and not user:
        raise ValueError("has no user before the @. Write user@host:port")
    if colon and not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError("has a port out of range. Write user@host:port, port 1 to 65535")
    _address(host.strip("[]"))
    return value


def _printable(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be printable text and not empty")
    return value


def _package(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+._-]*", value):
        raise ValueError("is no package's name: letters, digits, plus, dot, underscore and dash")
    return value


def _word(value: str) -> str:
    # In qdrouterd.conf a # cuts a value short without a word, and a quotation mark ends the router at its start.
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("must be up to 64 letters, digits, dots, underscores and dashes, the first no dot or dash")
    return value


def _remote_path(value: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._/+@=-]+", value):
        raise ValueError("must be an absolute path of letters, digits and ._/+@=-")
    return value


def _pattern(value: str) -> str:
    # The broker's expressions are PCRE, which knows more than Python: only what no dialect takes is refused.
    try:
        re.compile(value)
    except re.error as error:
        if re.match(r"unterminated|unbalanced|missing \)|nothing to repeat", error.msg):
            raise ValueError(f"is no regular expression: {error}") from None
    return value


def _not_empty(value: dict[str, Any]) -> dict[str, Any]:
    if not value:
        raise ValueError("is empty. Give it at least one key")
    return value


def _policy_value(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) for item in items):
        raise ValueError("must be text, a number, true/false or a list of them")
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, AfterValidator(_address)]
Refused = Annotated[Any, AfterValidator(_no_password)]
Text = Annotated[str, AfterValidator(_printable)]
Pattern = Annotated[str, AfterValidator(_printable), AfterValidator(_pattern)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Package = Annotated[str, AfterValidator(_package)]
Word = Annotated[str, AfterValidator(_word)]
RemotePath = Annotated[str, AfterValidator(_remote_path)]
Definition = Annotated[dict[str, Annotated[Any, AfterValidator(_policy_value)]], AfterValidator(_not_empty)]


class Shape(BaseModel):
    """Base: no unknown key, no conversion ("22" is not a port)."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SshExtras(Shape):
    """`connection_options.hybridmsg_ssh.extras`; paths may begin with ~, times are in seconds."""

    key_file: Text | None = None
    known_hosts: Text | None = None
    become: Literal["none", "sudo"] | None = None
    jump_host: Annotated[Text, AfterValidator(_jump_host)] | None = None
    connect_timeout: Seconds | None = None
    keepalive: Annotated[int, Field(ge=0, le=86400)] | None = None
    silence: Annotated[float, Field(ge=4, le=86400)] | None = None


class Attributes(Shape):
    """What Nornir knows of anything in an inventory."""

    hostname: Address | None = None
    port: Port | None = None
    username: Text | None = None
    password: Refused = None
    platform: str | None = None


class Connection(Attributes):
    """Options of one connection plugin; other plugins' extras are their own business."""

    extras: dict[str, Any] | None = None


class SshConnection(Attributes):
    """Options of hybridmsg's own connection plugin; without `extras` those of groups and defaults hold."""

    extras: SshExtras = Field(default_factory=SshExtras)


class Connections(BaseModel):
    """`connection_options`: hybridmsg's own, and any other plugin's."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Connection] = Field(init=False)
    hybridmsg_ssh: SshConnection = Field(default_factory=SshConnection)


class Element(Attributes):
    """One host or group."""

    groups: list[str] = Field(default_factory=list)
    data: dict[str, Any] = Field(default_factory=dict)
    connection_options: Connections = Connections()


class PolicySettings(Shape):
    """One RabbitMQ policy (`apply_to` as rabbitmqctl's --apply-to)."""

    name: Text
    pattern: Pattern
    definition: Definition
    apply_to: Literal["all", "queues", "exchanges"] = "all"
    priority: int = 0


# openstack-ansible, inventory/group_vars/all/infra.yml: rabbitmq_policies
HA_POLICY = PolicySettings(name="HA", pattern=r"^(?!(amq\.)|(.*_fanout_)|(reply_)).*", definition={"ha-mode": "all"})


class OsaPolicy(Shape):
    """One policy of openstack-ansible's rabbitmq_policies: its definition is called `tags` there."""

    name: Text
    pattern: Pattern
    tags: Definition
    apply_to: Literal["all", "queues", "exchanges"] = "all"
    priority: int = 0


class TlsSettings(Shape):
    """`tls`: files that the operator's PKI put on the hosts of the brokers, or of the routers."""

    certificate: RemotePath
    key: RemotePath
    ca: RemotePath


class RabbitmqSettings(Shape):
    """`rabbitmq`; `policies` None: mirror the queues when there is more than one broker.

    `port` None: openstack-ansible's, which is another with TLS.
    """

    port: Port | None = None
    package: Package = BrokerSettings.package
    policies: list[PolicySettings] | None = None
    tls: TlsSettings | None = None


class QdrouterdSettings(Shape):
    """`qdrouterd`; ports None: openstack-ansible's, which are others with TLS."""

    package: Package = RouterSettings.package
    package_file: Text | None = None
    port: Port | None = None
    inter_router_port: Port | None = None
    tls: TlsSettings | None = None
    realm: Word = RouterSettings.realm
    user: Word = RouterSettings.user


@dataclass(frozen=True)
class RouterPorts:
    """The ports of the routers, as they are when the settings say nothing of them too."""

    clients: int
    routers: int

    @classmethod
    def of(cls, settings: QdrouterdSettings) -> RouterPorts:
        """Return openstack-ansible's (qdrouterd_port and its like) where the settings give none."""
        clients, routers = (31461, 31462) if settings.tls else (RouterSettings.port, RouterSettings.inter_router_port)
        return cls(settings.port or clients, settings.inter_router_port or routers)


class ProjectSettings(Shape):
    """One entry of `projects`; vhost and user default to the project's name, notify to the general one."""

    vhost: Text | None = None
    user: Text | None = None
    notify: Literal["keep", "rabbitmq"] | None = None


class TimeoutSettings(Shape):
    """`timeouts`, in seconds."""

    step: Seconds = Timeouts.step
    install: Seconds = Timeouts.install
    gate: Seconds = Timeouts.gate
    drain: Seconds = Timeouts.drain
    confirm: Seconds = Timeouts.confirm
    settle: Seconds = Timeouts.settle


class LimitSettings(Shape):
    """`limits`."""

    parallel: Annotated[int, Field(ge=1, le=1000)] = Limits.parallel


class JournalSettings(Shape):
    """`journal`: how many runs are remembered, and for how many days."""

    runs: Annotated[int, Field(ge=1, le=1000)] = Retention.runs
    days: Annotated[int, Field(ge=1, le=3650)] = Retention.days


class SecretSettings(Shape):
    """`secrets`: what opens an ansible-vault secrets file, and a command that prints secrets as YAML."""

    vault_password_file: Text | None = None
    command: list[Text] | None = Field(default=None, min_length=1)


class Settings(Shape):
    """`data.hybridmsg` of defaults.yaml."""

    secrets_file: Text = "secrets.yaml"
    secrets: SecretSettings = Field(default_factory=SecretSettings)
    rabbitmq: RabbitmqSettings = Field(default_factory=RabbitmqSettings)
    qdrouterd: QdrouterdSettings = Field(default_factory=QdrouterdSettings)
    notify: Literal["keep", "rabbitmq"] = "keep"
    projects: dict[str, ProjectSettings] = Field(default_factory=dict)
    timeouts: TimeoutSettings = Field(default_factory=TimeoutSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    journal: JournalSettings = Field(default_factory=JournalSettings)
    waive: list[Text] = Field(default_factory=list)


class DefaultsData(BaseModel):
    """`data` of defaults.yaml: hybridmsg's own, and anything else of the operator's."""

    model_config = ConfigDict(extra="allow", strict=True)
    hybridmsg: Settings = Field(default_factory=Settings)


class Defaults(Attributes):
    """The whole of defaults.yaml."""

    data: DefaultsData = Field(default_factory=DefaultsData)
    connection_options: Connections = Connections()

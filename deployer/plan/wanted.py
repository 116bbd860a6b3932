"""What a unit's configuration shall come to: the RPC bus, the notify bus, and what a listener reads. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployer.model.deployment import ProjectDeployment
from deployer.model.transports import Transport, Transports
from deployer.plan import notify_bus
from deployer.plan.effective import Effective, Found, Name
from deployer.plan.listeners import Notifications

AMQP = "oslo_messaging_amqp"
RPC_URL: Name = ("DEFAULT", "transport_url")


@dataclass(frozen=True)
class Wanted:
    """One option and what it shall come to, whatever its place: `values` has one, or those of a MultiStrOpt (`multi`).

    None at all: the option is to be absent. An empty one: absent, or empty where something else would win.
    """

    option: Name
    values: tuple[str, ...] = field(repr=False)
    multi: bool = False
    deprecated: tuple[Name, ...] = ()

    @property
    def unwanted_names(self) -> tuple[Name, ...]:
        """Return the names that are to stand in no file: a deprecated one of a MultiStrOpt would add its values."""
        if not self.values:
            return (self.option, *self.deprecated)
        return self.deprecated if self.multi else ()

    def found(self, conf: Effective) -> list[Found]:
        """Return what is in force today, one value at most unless the option is a MultiStrOpt."""
        if self.multi:
            return conf.get_all(*self.option, *self.deprecated)
        found = conf.get(*self.option, *self.deprecated)
        return [found] if found else []

    def holds(self, conf: Effective) -> bool:
        """Whether the configuration comes to it, by whatever name."""
        values = {found.value for found in self.found(conf)}
        return values == set(self.values) or (not any(values) and not any(self.values))


def wanted_options(
    project: ProjectDeployment, transports: Transports, notifications: Notifications, conf: Effective
) -> list[Wanted]:
    """Return what this unit's options shall come to, with what they are today (conf) taken into account.

    Raises ConfigurationError when that cannot be told.
    """
    listener = project.project.listener
    found = []
    if listener is not None and not listener.own:
        urls = notifications.heard(project, conf)
        found.append(Wanted((listener.section, listener.key), urls, multi=True))
    if _names_notify_bus(project, transports):
        found += _notify_options(project, transports.notify, notifications, conf)
    if transports.rpc.driver == "amqp":
        found += _amqp_options(project, transports.rpc)
    return [*found, Wanted(RPC_URL, (transports.rpc.url().reveal(),))]


def written_options(project: ProjectDeployment, transports: Transports) -> list[Name]:
    """Return section and key of every option that decides over the project's buses and that the edit writes."""
    listener = project.project.listener
    notify = transports.notify.driver
    return [
        RPC_URL,
        *([(notify_bus.SECTION, "transport_url")] if _names_notify_bus(project, transports) else []),
        *([(notify_bus.SECTION, "driver")] if notify == "noop" and _names_notify_bus(project, transports) else []),
        *([(listener.section, listener.key)] if listener and not listener.own else []),
        *(one.option for one in _amqp_options(project, transports.rpc) if transports.rpc.driver == "amqp"),
    ]


def _names_notify_bus(project: ProjectDeployment, transports: Transports) -> bool:
    """Whether the files must name it: with RPC on routers also that of a project that does not notify today."""
    return project.project.notifies or transports.rpc.driver == "amqp"


def _notify_options(
    project: ProjectDeployment, bus: Transport, notifications: Notifications, conf: Effective
) -> list[Wanted]:
    url = notifications.wanted(project, bus, conf)
    driver, named = (notify_bus.SECTION, "driver"), (notify_bus.SECTION, "transport_url")
    if url is None:
        # Without a URL the notifier loads RPC's, which it then leaves alone: none:// would keep the service from
        # starting (oslo_messaging/transport.py, _get_transport).
        return [
            Wanted(driver, ("noop",), multi=True, deprecated=(notify_bus.OLD_DRIVER,)),
            Wanted(named, (), deprecated=(notify_bus.OLD_URL,)),
        ]
    drivers = [Wanted(driver, ("messagingv2",), multi=True)]
    return [
        *(drivers if project.project.notifies and not notify_bus.drivers(conf) else []),
        Wanted(named, (url.reveal(),), deprecated=(notify_bus.OLD_URL,)),
    ]


def _amqp_options(project: ProjectDeployment, bus: Transport) -> list[Wanted]:
    """Return the driver's options with the values that stood the test of live cutovers.

    A hung router is noticed (idle_timeout), a link that was refused is tried again soon (the default waits 10 s), and a
    cast is acknowledged: pre-settled, which is the default, it is lost while a link comes back. But one that nobody
    takes then fails its sender after half a minute, and a service that starts with such a cast would never run.
    """
    settled = ("rpc-reply", "rpc-cast") if project.project.casts_to_absent else ("rpc-reply",)
    return [
        Wanted((AMQP, "idle_timeout"), ("5",), deprecated=(("amqp1", "idle_timeout"),)),
        Wanted((AMQP, "link_retry_delay"), ("1",)),
        Wanted((AMQP, "pre_settled"), settled, multi=True),
        Wanted((AMQP, "sasl_default_realm"), (bus.realm,)),
        # The driver speaks TLS wherever a CA is named, whatever the URL says (controller.py, _do_connect).
        Wanted((AMQP, "ssl_ca_file"), (bus.ca,), deprecated=(("amqp1", "ssl_ca_file"),)),
    ]

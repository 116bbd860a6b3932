"""Where a service's notifications go today, and where they shall go.

Facts (oslo.messaging notify/notifier.py, opts `_notifier_opts`): drivers of [oslo_messaging_notifications] and of the
deprecated [DEFAULT] notification_driver add up; without a transport_url of its own the notifier uses the RPC one.
"""

from __future__ import annotations

from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport
from deployer.plan.effective import Effective, Name

SECTION = "oslo_messaging_notifications"
MESSAGING_DRIVERS = frozenset({"messaging", "messagingv2"})
OLD_DRIVER: Name = ("DEFAULT", "notification_driver")
OLD_URL: Name = ("DEFAULT", "notification_transport_url")


def drivers(conf: Effective) -> list[str]:
    """Return every notification driver that is in force, deprecated names included; an empty one is none."""
    return [found.value for found in conf.get_all(SECTION, "driver", OLD_DRIVER) if found.value]


def effective_url(conf: Effective) -> Secret | None:
    """Return the URL the notifier uses today (its own, the deprecated one, or RPC's), None when none is set."""
    own = conf.get(SECTION, "transport_url", OLD_URL)
    # An empty one hides the deprecated one, and is RPC's to oslo.messaging.
    url = (own.value if own else "") or conf.text("DEFAULT", "transport_url")
    return Secret(url) if url else None


def wanted_url(conf: Effective, bus: Transport, *, keep: bool) -> Secret | None:
    """Return the URL notifications shall use, None when `bus` is none (the driver noop).

    With `keep`, a cloud whose services notify over a bus that is not ours stays there, even where that URL was only
    RPC's own: then it has to be written down before RPC moves away. A router is never that bus: it stores nothing.
    """
    if bus.driver == "noop":
        return None
    today = effective_url(conf)
    notifying = MESSAGING_DRIVERS.intersection(drivers(conf))
    if keep and today and notifying and not is_on(today, bus) and not is_amqp(today):
        return today
    return bus.url()


def is_amqp(url: Secret) -> bool:
    """Whether a URL is for the amqp driver, by its scheme alone: the rest may be unreadable."""
    return url.reveal().strip().partition(":")[0].lower() == "amqp"


def is_on(url: Secret, bus: Transport) -> bool:
    """Whether a URL in a file is this bus, perhaps with other members or another password."""
    try:
        seen = TransportURL.parse(url.reveal())
    except ValueError:
        return False
    return names_any(seen, bus) and (seen.vhost, seen.user) == (bus.vhost, bus.user)


def names_any(seen: TransportURL, bus: Transport) -> bool:
    """Whether a URL names any host of the bus, in whatever case."""
    ours = {host.lower() for host in bus.hosts}
    return any(host.lower() in ours for host, _ in seen.hosts)

"""Which notify bus each project uses, and which buses the listeners must hear for that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.secrets import Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport, resolve
from deployer.plan import notify_bus
from deployer.plan.bus_today import RpcBus
from deployer.plan.effective import Effective, effective_configs
from deployer.plan.observed import HostFacts

Facts = Mapping[str, HostFacts]


@dataclass(frozen=True)
class Speaker:
    """A project that notifies: the buses that its units' files name today, and the URLs that they shall name.

    `follows`: it hears its own bus, and goes where those go that it hears.
    """

    name: str
    today: frozenset[RpcBus]
    wanted: tuple[Secret, ...]
    follows: bool = False


@dataclass(frozen=True)
class Notifications:
    """All projects that notify, and the addresses (in lower case) of the brokers that the deployment knows.

    With `unheard`, hosts that nobody could ask may notify over these brokers too.
    """

    speakers: tuple[Speaker, ...] = ()
    brokers: frozenset[str] = frozenset()
    unheard: bool = False

    @classmethod
    def of(cls, deployment: Deployment, facts: Facts) -> Notifications:
        """Read every project's files; raises ConfigurationError when one of them cannot be read.

        A listener that hears its own bus follows the others, which are therefore asked first.
        """
        notifying = [one for one in deployment.projects if one.project.notifies]
        buses = [resolve(deployment, one).notify for one in deployment.projects]
        hosts = [*(host for bus in buses for host in bus.hosts), *(host.address for host in deployment.rabbitmq)]
        brokers = frozenset(host.lower() for host in hosts)
        first = cls((), brokers, bool(deployment.left_out))
        for followers in (False, True):
            speakers = [_speaker(deployment, one, facts, first) for one in notifying if _follows(one) == followers]
            first = replace(first, speakers=(*first.speakers, *speakers))
        order = [one.name for one in notifying]
        return replace(first, speakers=tuple(sorted(first.speakers, key=lambda one: order.index(one.name))))

    @property
    def urls(self) -> dict[str, tuple[Secret, ...]]:
        """Return, by project that notifies, the URLs that its units shall use; one when they agree, none for noop."""
        return {one.name: one.wanted for one in self.speakers}

    def wanted(self, project: ProjectDeployment, bus: Transport, conf: Effective) -> Secret | None:
        """Return the URL that a unit of the project shall notify over, None for none (noop).

        A listener that hears its own bus goes where the projects go that it hears today. Raises ConfigurationError when
        they go to several places.
        """
        own = notify_bus.wanted_url(conf, bus, keep=project.notify == "keep")
        return (self._followed(project, bus.url(), conf) or own) if own is not None and _follows(project) else own

    def heard(self, project: ProjectDeployment, conf: Effective) -> tuple[str, ...]:
        """Return what the option of a listener shall list: every bus that somebody notifies over, and foreign ones."""
        listener = project.project.listener
        if listener is None:
            return ()
        wanted = [url.reveal() for one in self.speakers for url in one.wanted]
        named = [found.value for found in conf.get_all(listener.section, listener.key) if found.value]
        present = named or (_implied(conf) if project.notify == "keep" else [])
        # In the order of the file, lest the next plan sees a change where there is none.
        kept = [url for url in present if url in wanted or not self._is_stale(Secret(url))]
        return tuple(dict.fromkeys([*kept, *wanted]))

    def _is_stale(self, url: Secret) -> bool:
        """Whether nobody is to read from there: a router, or a broker of ours where nobody notifies any more."""
        bus = RpcBus.of(url)
        ours = bus is not None and not self.brokers.isdisjoint(bus.hosts)
        return notify_bus.is_amqp(url) or (ours and not self.unheard)

    def _followed(self, project: ProjectDeployment, planned: Secret, conf: Effective) -> Secret | None:
        """Return where a listener of its own bus goes to hear those that it hears today, None when it hears nobody."""
        today = notify_bus.effective_url(conf)
        here = RpcBus.of(today) if today else None
        # What notifies over a router is heard by nobody.
        if today is None or here is None or here.driver == "amqp":
            return None
        heard = [one for one in self.speakers if not one.follows and any(map(here.is_same, one.today))]
        places = list(dict.fromkeys(url for one in heard for url in one.wanted))
        if not places or any(_is_same(url, planned) for url in places):
            return planned if places else None
        staying = [url for url in places if _is_same(url, today)]
        if staying:
            return next((url for url in staying if _user(url) == _user(today)), today)
        if all(_is_same(url, places[0]) for url in places):
            return places[0]
        raise ConfigurationError([Mistake(project.name, "", _apart(project, [one.name for one in heard]))])


def notify_urls(deployment: Deployment, facts: Facts) -> dict[str, tuple[Secret, ...]]:
    """Return, by project that notifies, the notify URLs its hosts shall use; one when they agree."""
    return Notifications.of(deployment, facts).urls


def notifying_over_ours(deployment: Deployment, facts: Facts) -> list[ProjectDeployment]:
    """Return the projects whose notifications go, or shall go, over the deployment's own brokers."""
    urls = notify_urls(deployment, facts)
    buses = {one.name: resolve(deployment, one).notify for one in deployment.projects}
    return [
        project
        for project in deployment.projects
        if any(notify_bus.is_on(url, buses[project.name]) for url in urls.get(project.name, ()))
    ]


def heard_vhosts(deployment: Deployment, facts: Facts, listener: ProjectDeployment) -> dict[str, str]:
    """Return, by project that notifies over our brokers, the vhost in which this listener must consume."""
    notifying = notifying_over_ours(deployment, facts)
    vhosts = {one.name: resolve(deployment, one).notify.vhost for one in notifying}
    if not _follows(listener):
        return vhosts
    configs = [conf for host in listener.hosts for conf in effective_configs(facts[host.name], listener).values()]
    read = {bus for conf in configs if (url := notify_bus.effective_url(conf)) and (bus := RpcBus.of(url))}
    planned = {one.name: RpcBus.of(resolve(deployment, one).notify.url()) for one in notifying}
    return {name: vhosts[name] for name, bus in planned.items() if bus and any(map(bus.is_same, read))}


def _follows(project: ProjectDeployment) -> bool:
    return project.project.listener is not None and project.project.listener.own


def _speaker(deployment: Deployment, project: ProjectDeployment, facts: Facts, others: Notifications) -> Speaker:
    bus = resolve(deployment, project).notify
    configs = [conf for host in project.hosts for conf in effective_configs(facts[host.name], project).values()]
    today = [RpcBus.of(url) for conf in configs if (url := notify_bus.effective_url(conf))]
    wanted = [others.wanted(project, bus, conf) for conf in configs]
    return Speaker(
        project.name, frozenset(filter(None, today)), tuple(dict.fromkeys(filter(None, wanted))), _follows(project)
    )


def _implied(conf: Effective) -> list[str]:
    """Return the bus a listener reads that names none (ceilometer/notification.py, opt messaging_urls)."""
    url = notify_bus.effective_url(conf)
    return [url.reveal()] if url else []


def _is_same(one: Secret, other: Secret) -> bool:
    buses = RpcBus.of(one), RpcBus.of(other)
    return buses[0] is not None and buses[1] is not None and buses[0].is_same(buses[1])


def _user(url: Secret) -> str:
    try:
        return TransportURL.parse(url.reveal()).user
    except ValueError:
        return ""


def _apart(project: ProjectDeployment, heard: list[str]) -> str:
    return (
        f"its listener hears {', '.join(heard)} over the bus that it notifies over itself, and these go to different "
        f"buses: it could follow one only. Set {project.name}_oslomsg_notify_vhost to the vhost of the one to be heard"
    )

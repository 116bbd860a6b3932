"""The edit of one service's configuration file: the RPC bus, the notify bus, and what a listener reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.errors import ConfigurationError, FileRefused, Mistake
from deployer.ini import IniFile
from deployer.model.catalogue import Listener
from deployer.model.deployment import ProjectDeployment
from deployer.model.secrets import Blob, Secret
from deployer.model.transport_url import TransportURL
from deployer.model.transports import Transport, Transports
from deployer.plan import notify_bus
from deployer.plan.diff import unified_diff
from deployer.plan.observed import FileFact, HostFacts
from deployer.plan.steps import Intent

AMQP = "oslo_messaging_amqp"


@dataclass(frozen=True)
class FileEdit:
    """A file as it is and as it shall be; nothing to do when both are the same.

    `rpc_moves` tells that [DEFAULT] transport_url is among what changes.
    """

    path: str
    fact: FileFact
    after: Blob
    rpc_moves: bool = False

    @property
    def changed(self) -> bool:
        """Whether any byte differs."""
        return self.fact.content != self.after

    def diff(self) -> str:
        """Return the unified diff, passwords masked."""
        before = self.fact.content.reveal() if self.fact.content else None
        return unified_diff(self.path, before, self.after.reveal())

    def intent(self) -> Intent:
        """Return the write, bound to the bytes the edit was made from."""
        kept = {"mode": None, "user": None, "group": None}
        args = {"path": self.path, "content_b64": self.after.base64(), **kept}
        return Intent("file.write", args, f"write {self.path}", self.fact.preimage())


def read_service_file(facts: HostFacts, project: ProjectDeployment) -> IniFile:
    """Parse the project's main file; raises ConfigurationError when it is missing, FileRefused when it is unsafe."""
    path = project.project.files[0]
    fact = facts.files[path]
    if fact.content is None:
        problem = f"does not exist. Install {project.name} there, or take the host out of the group {project.name}"
        raise ConfigurationError([Mistake(f"{facts.host}: {path}", "", problem)])
    try:
        return IniFile.parse(fact.content.reveal(), path)
    except FileRefused as refused:
        raise refused.on(facts.host) from None


def edit_service_file(
    facts: HostFacts, project: ProjectDeployment, transports: Transports, listen: tuple[Secret, ...]
) -> FileEdit:
    """Return the edit that brings the project's file on this host to its transports.

    `listen` holds the notify URLs of all projects that notify: what a listener, and nothing else, reads.
    """
    ini = read_service_file(facts, project)
    keep = project.notify == "keep"
    if project.project.listener is not None:
        _edit_listener(ini, project.project.listener, transports.notify, listen, keep=keep)
    if _names_notify_bus(project, transports):
        _edit_notifications(ini, transports.notify, keep=keep, driver=project.project.notifies)
    if transports.rpc.driver == "amqp":
        _edit_amqp(ini, _amqp_options(project, transports.rpc))
    url = transports.rpc.url().reveal()
    moves = ini.get("DEFAULT", "transport_url") != url
    ini.set("DEFAULT", "transport_url", url)
    path = project.project.files[0]
    return FileEdit(path, facts.files[path], Blob(ini.render()), moves)


def _edit_notifications(ini: IniFile, bus: Transport, *, keep: bool, driver: bool) -> None:
    wanted = notify_bus.wanted_url(ini, bus, keep=keep)
    if driver and not notify_bus.drivers(ini):
        ini.set(notify_bus.SECTION, "driver", "messagingv2")
    ini.set(notify_bus.SECTION, "transport_url", wanted.reveal())


def written_options(project: ProjectDeployment, transports: Transports) -> list[tuple[str, str]]:
    """Return section and key of every option that decides over the project's buses and that the edit writes."""
    listener = project.project.listener
    return [
        ("DEFAULT", "transport_url"),
        *([(notify_bus.SECTION, "transport_url")] if _names_notify_bus(project, transports) else []),
        *([(listener.section, listener.key)] if listener else []),
        *((AMQP, key) for key in _amqp_options(project, transports.rpc) if transports.rpc.driver == "amqp"),
    ]


def _names_notify_bus(project: ProjectDeployment, transports: Transports) -> bool:
    """Whether the file must name it: with RPC on routers also that of a project that does not notify today."""
    return project.project.notifies or transports.rpc.driver == "amqp"


def _amqp_options(project: ProjectDeployment, bus: Transport) -> dict[str, tuple[str, ...]]:
    """Return the values of the driver's options that stood the test of live cutovers; none: not set.

    A hung router is noticed (idle_timeout), a link that was refused is tried again soon (the default waits 10 s), and a
    cast is acknowledged: pre-settled, which is the default, it is lost while a link comes back. But one that nobody
    takes then fails its sender after half a minute, and a service that starts with such a cast would never run.
    """
    return {
        "idle_timeout": ("5",),
        "link_retry_delay": ("1",),
        "pre_settled": ("rpc-reply", "rpc-cast") if project.project.casts_to_absent else ("rpc-reply",),
        "sasl_default_realm": (bus.realm,),
        # The driver speaks TLS wherever a CA is named, whatever the URL says (controller.py, _do_connect).
        "ssl_ca_file": (bus.ca,) if bus.ca else (),
    }


def _edit_amqp(ini: IniFile, options: Mapping[str, Sequence[str]]) -> None:
    for key, values in options.items():
        if values or ini.get(AMQP, key):
            ini.set_all(AMQP, key, list(values) or [""])


def _edit_listener(ini: IniFile, listener: Listener, bus: Transport, listen: tuple[Secret, ...], *, keep: bool) -> None:
    wanted = [url.reveal() for url in listen]
    named = [url for url in ini.get_all(listener.section, listener.key) if url]
    present = named or (_implied(ini) if keep else [])
    # In the order of the file, lest the next plan sees a change where there is none.
    kept = [url for url in present if url in wanted or not (_names_any(url, bus) or notify_bus.is_amqp(Secret(url)))]
    ini.set_all(listener.section, listener.key, list(dict.fromkeys([*kept, *wanted])))


def _implied(ini: IniFile) -> list[str]:
    """Return the bus a listener reads that names none (ceilometer/notification.py, opt messaging_urls)."""
    url = notify_bus.effective_url(ini)
    return [url.reveal()] if url else []


def _names_any(url: str, bus: Transport) -> bool:
    try:
        return notify_bus.names_any(TransportURL.parse(url), bus)
    except ValueError:
        return False

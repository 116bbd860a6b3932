"""What stands in the way of a project's switch: its files, what runs on its hosts, what would be cut off. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import TypeVar

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.transports import resolve
from deployer.plan import notify_bus
from deployer.plan.bus_today import cut_off, rpc_bus
from deployer.plan.cell_moves import cell_obstacles
from deployer.plan.clients import client_obstacles
from deployer.plan.effective import Effective, effective_configs, units_of
from deployer.plan.listeners import Notifications
from deployer.plan.observed import HostFacts
from deployer.plan.service_files import ServiceFiles, edit_service_files, shared_file_mistakes

Facts = Mapping[str, HostFacts]
Answer = TypeVar("Answer")

_SOURCE = ("DEFAULT", "config_source")


def edit_projects(deployment: Deployment, facts: Facts) -> tuple[dict[str, dict[str, ServiceFiles]], list[Mistake]]:
    """Return the edits by project and host, and what keeps files from being edited; without the one where the other.

    A file that cannot be read is a mistake alone: what follows from the others' is not known before.
    """
    unread = [one for project in deployment.projects for fact in _of(project, facts) for one in _unread(fact, project)]
    if unread:
        return {}, unread
    mistakes: list[Mistake] = []
    notifications = _or_mistakes(mistakes, partial(Notifications.of, deployment, facts))
    if notifications is None:
        return {}, mistakes
    done: dict[str, dict[str, ServiceFiles]] = {}
    for project in deployment.projects:
        transports = resolve(deployment, project)
        tried = {
            fact.host: _or_mistakes(mistakes, partial(edit_service_files, fact, project, transports, notifications))
            for fact in _of(project, facts)
        }
        done[project.name] = {host: files for host, files in tried.items() if files}
        mistakes += [one for host, files in done[project.name].items() for one in _guessed(facts[host], project, files)]
    if not mistakes:
        mistakes = [one for host in deployment.hosts for one in shared_file_mistakes(_on(host, done))]
    return done, list(dict.fromkeys(mistakes))


def obstacles(deployment: Deployment, facts: Facts, *, deep: bool = True) -> list[Mistake]:
    """Return what else is wrong with each project on its hosts: what runs there, and what would be left behind.

    Without `deep` the cell mappings were not read, and nobody misses them.
    """
    return [
        mistake
        for project in deployment.projects
        if project.project.managed
        for mistake in (
            *client_obstacles(project, resolve(deployment, project), _of(project, facts)),
            *chain.from_iterable(_other_sources(fact, project) for fact in _readable(project, facts)),
            *_cut_off(deployment, project, facts),
            *(_unread_cells(deployment, project, facts) if deep else ()),
        )
    ]


def _guessed(facts: HostFacts, project: ProjectDeployment, files: ServiceFiles) -> list[Mistake]:
    """Return the running units that may read other files than those that change: nobody could prove where they are."""
    changing = ", ".join(edit.path for edit in files.edits if edit.changed)
    unknown = f"it is guessed to read {changing}, which is to change"
    remedy = "Let its start name its files (--config-file), or stop it"
    return [
        Mistake(f"{facts.host}: {unit.name}", "", f"{unit.config.problem}; {unknown}. {remedy}")
        for unit in units_of(facts, project)
        if changing and unit.running and unit.config and unit.config.problem
    ]


def _on(host: str, done: Mapping[str, Mapping[str, ServiceFiles]]) -> list[ServiceFiles]:
    return [own[host] for own in done.values() if host in own]


def _or_mistakes(mistakes: list[Mistake], act: Callable[[], Answer]) -> Answer | None:
    """Return what `act` returns, or None once the mistakes that it raises are among the others."""
    try:
        return act()
    except ConfigurationError as error:
        mistakes += error.mistakes
        return None


def _of(project: ProjectDeployment, facts: Facts) -> list[HostFacts]:
    return [facts[host.name] for host in project.hosts]


def _readable(project: ProjectDeployment, facts: Facts) -> list[HostFacts]:
    return [fact for fact in _of(project, facts) if not _unread(fact, project)]


def _unread(facts: HostFacts, project: ProjectDeployment) -> list[Mistake]:
    """Return why the project's files cannot be read on this host, or what in them cannot be understood."""
    try:
        configs = effective_configs(facts, project)
    except ConfigurationError as error:
        return error.mistakes
    return list(dict.fromkeys(one for conf in configs.values() for one in _obscure(conf)))


def _obscure(conf: Effective) -> list[Mistake]:
    """Return what refers to a name that nobody can fill in, among the options that a plan reads."""
    mistakes: list[Mistake] = []
    read = [("DEFAULT", key) for key in ("transport_url", "host", "cluster")]
    for option in (*read, ("oslo_messaging_amqp", "sasl_default_realm")):
        _or_mistakes(mistakes, partial(conf.get, *option))
    _or_mistakes(mistakes, partial(notify_bus.effective_url, conf))
    return mistakes


def _other_sources(facts: HostFacts, project: ProjectDeployment) -> list[Mistake]:
    """Return a mistake for each unit that has options from where nobody can look: [DEFAULT] config_source."""
    remedy = "hybridmsg cannot read what comes from there. Take it out, and restart the unit"
    mistakes = []
    for conf in effective_configs(facts, project).values():
        found = conf.get(*_SOURCE)
        if found and found.value:
            mistakes.append(conf.mistake(found, f"[DEFAULT] config_source names further sources of options: {remedy}"))
    for unit in units_of(facts, project):
        if unit.options("--config-source") or "OS_DEFAULT__CONFIG_SOURCE" in unit.environment:
            how = "--config-source" if unit.options("--config-source") else "OS_DEFAULT__CONFIG_SOURCE"
            mistakes.append(Mistake(f"{facts.host}: {unit.name}", "", f"{how} names further sources: {remedy}"))
    return mistakes


def _cut_off(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> list[Mistake]:
    configs = [conf for fact in _readable(project, facts) for conf in effective_configs(fact, project).values()]
    hosts = dict.fromkeys(host for bus in filter(None, map(rpc_bus, configs)) for host in cut_off(bus, deployment))
    problem = (
        f"leaves the group qdrouterd while {project.name} is on it, and would be cut off from the routers that stay. "
        "Go back to RabbitMQ first: empty the group and migrate, then name the new routers"
    )
    return [Mistake(host.name, "", problem) for host in hosts]


def _unread_cells(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> list[Mistake]:
    # A file that cannot be read is a mistake of its own: what it says of the bus is not known before.
    if len(_readable(project, facts)) < len(project.hosts):
        return []
    return cell_obstacles(project, resolve(deployment, project).rpc, facts)

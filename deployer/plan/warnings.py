"""What a plan tells people beside its changes: nothing of it stands in the way, and hardly anybody means it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.model.transports import resolve
from deployer.plan import notify_bus
from deployer.plan.bus_today import rpc_bus
from deployer.plan.effective import Effective, effective_configs, units_of
from deployer.plan.observed import HostFacts
from deployer.plan.obstacles import Facts


def warnings(deployment: Deployment, facts: Facts) -> tuple[str, ...]:
    """Return a line for each; raises ConfigurationError when a file cannot be read."""
    found = [
        line
        for project in deployment.projects
        for host in project.hosts
        for line in (
            *_starts(project, facts[host.name]),
            *_sent_twice(project, facts[host.name]),
            *_sent_nowhere(deployment, project, facts[host.name]),
        )
    ]
    left = (line for project in deployment.projects for line in _not_looked_at(deployment, project, facts))
    return tuple(dict.fromkeys([*found, *left]))


def left_alone(deployment: Deployment) -> tuple[str, ...]:
    """Return a line for each project, or part of one, that no plan changes, and why."""
    told = [f"{one.name}: known, and not edited by hybridmsg" for one in deployment.projects if not one.project.managed]
    parts = [(project.name, part) for project in deployment.projects for part in project.project.unmoved]
    return (*told, *(f"{name}: {part.what}: {part.why}" for name, part in parts))


def _not_looked_at(deployment: Deployment, project: ProjectDeployment, facts: Facts) -> Iterator[str]:
    """Yield each RabbitMQ on hosts of the inventory that the project leaves and whose brokers nobody asks any more."""
    planned = resolve(deployment, project).rpc
    configs = [conf for host in project.hosts for conf in effective_configs(facts[host.name], project).values()]
    for bus in filter(None, map(rpc_bus, configs)):
        serving = ", ".join(host.name for host in bus.served_by(deployment))
        if serving and bus.driver == "rabbit" and not bus.is_on(planned) and not bus.is_brokers(deployment):
            problem = "in no group that a bus is on: who would stay behind there is not looked for, nor old messages"
            remedy = "Let another bus, such as notifications, stay there for this run and leave in the next"
            yield f"{project.name}: leaves RabbitMQ on {serving}, {problem} on the way back. {remedy}"


def _starts(project: ProjectDeployment, facts: HostFacts) -> Iterator[str]:
    for unit in units_of(facts, project) if project.project.managed else ():
        if unit.running and unit.config and unit.config.problem:
            read = ", ".join(unit.config.files)
            yield f"{facts.host}: {unit.name}: {unit.config.problem}; it is taken to read {read}, as by default"


def _sent_twice(project: ProjectDeployment, facts: HostFacts) -> Iterator[str]:
    if project.project.notifies:
        for conf in effective_configs(facts, project).values():
            yield from _twice(conf)


def _sent_nowhere(deployment: Deployment, project: ProjectDeployment, facts: HostFacts) -> Iterator[str]:
    """Yield where notifications have a bus and noop keeps them from it: an operator's word, or an earlier plan's."""
    if project.project.notifies and resolve(deployment, project).notify.driver != "noop":
        for conf in effective_configs(facts, project).values():
            found = conf.get_all(notify_bus.SECTION, "driver", notify_bus.OLD_DRIVER)
            if {one.value for one in found if one.value} == {"noop"}:
                places = " and ".join(f"{one.path}:{one.line}" for one in found if one.value)
                yield f"{conf.host}: {project.name} sends no notifications: its driver is noop ({places}), which stays"


def _twice(conf: Effective) -> Iterator[str]:
    # notify/notifier.py loads each driver once, however often it is named; messaging and messagingv2 are two.
    found = conf.get_all(notify_bus.SECTION, "driver", notify_bus.OLD_DRIVER)
    sending = {one.value: one for one in found if one.value in notify_bus.MESSAGING_DRIVERS}
    if len(sending) > 1:
        places = " and ".join(f"{one.path}:{one.line} [{one.section}] {one.key}" for one in sending.values())
        yield f"{conf.host}: each notification is sent twice: {places} add up. Take one of them out"

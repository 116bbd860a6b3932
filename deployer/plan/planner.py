"""The whole plan, brokers and services: a pure function of the deployment and of what the hosts are.

An empty plan is the proof of idempotence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment
from deployer.plan.cluster import BrokersPlan, plan_brokers
from deployer.plan.obstacles import Facts
from deployer.plan.projects import ProjectPlan, plan_projects
from deployer.plan.routers import RouterPlan, plan_routers
from deployer.plan.stale import Looks
from deployer.plan.steps import Intent, Wave
from deployer.plan.warnings import warnings

STAGING = "staging"
"""The scope of what is installed ahead of all switches: it belongs to no project, and no undo takes it back."""

Planned = TypeVar("Planned")


@dataclass(frozen=True)
class Plan:
    """`projects` holds every project of the deployment, changed or not, in the order in which they are carried out.

    `warnings` tell people of what stands in no plan's way and is hardly meant.
    """

    deployment: Deployment
    brokers: BrokersPlan
    routers: RouterPlan
    projects: tuple[ProjectPlan, ...]
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything is to be done anywhere."""
        backends = self.brokers.waves or self.routers.waves
        return bool(backends) or any(project.changed for project in self.projects)

    @property
    def restarts(self) -> tuple[str, ...]:
        """Return a line for people for each service that is to start anew though no file of its host changes."""
        return tuple(
            f"{host}: {unit} {reason}"
            for project in self.projects
            for host, units in project.stale.items()
            for unit, reason in units.items()
        )

    @property
    def staging(self) -> Wave:
        """Return what is installed before any service stops; what several projects of a host need is installed once."""
        intents: dict[str, dict[str, Intent]] = {}
        for project in self.projects:
            for host, own in project.clients.items():
                intents.setdefault(host, {}).update({intent.reason: intent for intent in own})
        return Wave("install client libraries", STAGING, {host: tuple(own.values()) for host, own in intents.items()})

    def of(self, projects: Collection[str]) -> Plan:
        """Return the plan of these projects only, with brokers and routers."""
        return replace(self, projects=tuple(one for one in self.projects if one.project.name in projects))

    def waves(self) -> list[Wave]:
        """Return all that is to be done, in order, with what the brokers are expected to need after a first round."""
        switches = [wave for project in self.projects for wave in project.switch_waves()]
        waves = [*self.brokers.waves, *self.brokers.expected, *self.routers.waves, self.staging, *switches]
        return [wave for wave in waves if wave.intents]


def make_plan(deployment: Deployment, facts: Facts, looks: Looks | None = None, *, deep: bool = True) -> Plan:
    """Return the plan; raises ConfigurationError with every obstacle found. Nothing is touched.

    `looks` is what was seen of the services before; without them nobody is found stale. Unless `deep`, brokers and
    cell mappings were not read, and nothing is planned of them.
    """
    mistakes: list[Mistake] = []
    projects = _or_mistakes(lambda: plan_projects(deployment, facts, looks, deep=deep), mistakes)
    brokers = _or_mistakes(lambda: plan_brokers(deployment, facts) if deep else BrokersPlan({}), mistakes)
    routers = _or_mistakes(lambda: plan_routers(deployment, facts), mistakes)
    if projects is None or brokers is None or routers is None:
        raise ConfigurationError(mistakes)
    return Plan(deployment, brokers, routers, tuple(projects), warnings(deployment, facts))


def _or_mistakes(plan: Callable[[], Planned], mistakes: list[Mistake]) -> Planned | None:
    """Return a part of the plan, or None once what stands in its way is among the mistakes."""
    try:
        return plan()
    except ConfigurationError as error:
        mistakes += error.mistakes
        return None

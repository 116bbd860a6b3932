"""The whole plan, brokers and services: a pure function of the deployment and of what the hosts are.

An empty plan is the proof of idempotence.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment
from deployer.plan.cluster import ClusterPlan, plan_cluster
from deployer.plan.projects import Facts, ProjectPlan, plan_projects, unreadable_files
from deployer.plan.steps import Wave


@dataclass(frozen=True)
class Plan:
    """`projects` holds every project of the deployment, changed or not, in the order in which they are carried out."""

    deployment: Deployment
    brokers: ClusterPlan
    projects: tuple[ProjectPlan, ...]

    @property
    def changed(self) -> bool:
        """Whether anything is to be done anywhere."""
        return bool(self.brokers.waves) or any(project.changed for project in self.projects)

    def waves(self) -> list[Wave]:
        """Return all that is to be done, in order, with what the brokers are expected to need after a first round."""
        timeout = self.deployment.timeouts.step
        services = [
            wave
            for project in self.projects
            if project.changed
            for wave in (project.write_wave(), *project.restart_waves(timeout))
        ]
        return [*self.brokers.waves, *self.brokers.expected, *services]


def make_plan(deployment: Deployment, facts: Facts) -> Plan:
    """Return the plan; raises ConfigurationError with every obstacle found. Nothing is touched."""
    try:
        brokers = plan_cluster(deployment, facts)
    except ConfigurationError as error:
        raise ConfigurationError([*error.mistakes, *unreadable_files(deployment, facts)]) from None
    return Plan(deployment, brokers, tuple(plan_projects(deployment, facts)))

"""Where the cloud stands: what answers SSH, which bus each project is configured for, what the last run did."""

from __future__ import annotations

from deployer.errors import HybridmsgError
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.planner import make_plan
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.memory import recall
from deployer.rollout.outcome import Status


def status(deployment: Deployment, store: RunStore, progress: Progress) -> Status:
    """Read every host that can be reached; changes nothing and takes no lock."""
    hosts = deployment.hosts
    with Fleet(deployment, progress) as fleet:
        facts, errors = ask_each(hosts, lambda names: fleet.observe([hosts[name] for name in names]))
        found = Status(deployment, facts, errors, last=next(store.of(deployment).runs(), None))
        if not errors:
            try:
                fleet.observe_cells()
                found.plan = make_plan(deployment, fleet.facts, recall(store))
            except HybridmsgError as problem:
                found.problem = problem
    return found

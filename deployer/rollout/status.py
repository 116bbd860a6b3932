"""Where the cloud stands: what answers SSH, which bus each project is configured for, what the last run did."""

from __future__ import annotations

from deployer.errors import HybridmsgError
from deployer.journal.runs import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.planner import make_plan
from deployer.plan.query import facts_query
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Status
from tasks.facts import read_facts


def status(deployment: Deployment, store: RunStore, progress: Progress) -> Status:
    """Read every host that can be reached; changes nothing and takes no lock."""
    with Fleet(deployment, progress) as fleet:
        queries = {host.name: facts_query(deployment, host, {}) for host in deployment.hosts.values()}
        results, errors = fleet.attempt(queries, read_facts, queries=queries)
        facts = {name: fleet.read(name, result) for name, result in results.items()}
    found = Status(deployment, facts, errors, last=next(store.runs(), None))
    if not errors:
        try:
            found.plan = make_plan(deployment, facts)
        except HybridmsgError as problem:
            found.problem = problem
    return found

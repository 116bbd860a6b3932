"""Where the cloud stands: what answers SSH, which bus each project is configured for, what the last run did."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployer.errors import HybridmsgError
from deployer.journal.runs import Run, RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.observed import HostFacts
from deployer.plan.planner import Plan, make_plan
from deployer.plan.query import facts_query
from deployer.rollout.fleet import Fleet
from tasks.facts import read_facts


@dataclass
class Status:
    """`plan` is None while a host could not be asked (`errors` says why); `last` is the newest recorded run."""

    deployment: Deployment
    facts: dict[str, HostFacts]
    errors: dict[str, HybridmsgError]
    plan: Plan | None = None
    problem: HybridmsgError | None = None
    last: Run | None = field(default=None)


def status(deployment: Deployment, store: RunStore, progress: Progress) -> Status:
    """Read every host that can be reached; changes nothing and takes no lock."""
    with Fleet(deployment, progress) as fleet:
        queries = {host.name: facts_query(deployment, host, None) for host in deployment.hosts.values()}
        results, errors = fleet.attempt(queries, read_facts, queries=queries)
        facts = {name: fleet.read(name, result) for name, result in results.items()}
    found = Status(deployment, facts, errors, last=next(store.runs(), None))
    if not errors:
        try:
            found.plan = make_plan(deployment, facts)
        except HybridmsgError as problem:
            found.problem = problem
    return found

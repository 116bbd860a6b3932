"""Who answered before a run: what a rollback, or the undo of one project, is held to."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from deployer.journal.run import Run
from deployer.model.deployment import ProjectDeployment
from deployer.plan.checks import Check, Witness, witnesses
from deployer.plan.effective import effective_configs
from deployer.plan.expected import RpcServer
from deployer.plan.planner import Plan
from deployer.plan.projects import ProjectPlan
from deployer.rollout.bus import Bus, Question
from deployer.rollout.fleet import Fleet, ask_each

BASELINE_TIMEOUT = 8.0
"""Seconds that a server has to answer on the bus it is on before anything changes."""
RETURN_TIMEOUT = 20.0
"""Seconds that servers have to answer on their old bus before callers start without them."""


def ask_before(fleet: Fleet, plan: Plan) -> list[dict[str, object]]:
    """Ask every expected server on the bus it is on now; return its record with whether it `answered`."""
    questions: list[Question] = []
    for project in plan.projects:
        facts = [fleet.facts[host.name] for host in project.project.hosts]
        asking = [one for one in witnesses(project.project, facts) if _has_bus(fleet, project, one)]
        if asking and project.changed:
            questions.append((project.project, asking[0], project.servers))
    checks = Bus(fleet).ask(questions, BASELINE_TIMEOUT, notify=False, planned=False)
    answered = {(check.project, check.target) for check in checks if check.ok}
    return [
        {**server.record(), "answered": (server.project, server.address) in answered}
        for project in plan.projects
        for server in project.servers
    ]


def ask_again(
    fleet: Fleet, run: Run, projects: Iterable[ProjectDeployment], timeout: float, there: Collection[str] | None = None
) -> list[Check]:
    """Ask again whoever answered before the run (`timeout` in s), of what is known to be on a host only those `there`.

    Where nobody answered, there was no bus to go back to.
    """
    answered = [RpcServer.of(entry) for entry in run.baseline if entry["answered"]]
    if there is not None:
        answered = [server for server in answered if not server.host or server.host in there]
    asked = [(project, [server for server in answered if server.project == project.name]) for project in projects]
    asked = [(project, servers) for project, servers in asked if servers]
    hosts = {host.name: host for project, _ in asked for host in project.hosts if there is None or host.name in there}
    # What is known of a host that does not tell any more is asked for all the same, and does not answer.
    ask_each(hosts, lambda names: fleet.observe([hosts[name] for name in names]))
    return Bus(fleet).ask_projects(asked, timeout, notify=False, planned=False)


def await_baseline(fleet: Fleet, run: Run, project: ProjectDeployment, there: Collection[str]) -> None:
    """Give the servers that answered before the run the time to do so again, before their callers start.

    What does not answer is not an error here: callers are better off with some servers than the cloud with no callers.
    So nobody waits for those on hosts that are not `there` any more.
    """
    ask_again(fleet, run, [project], RETURN_TIMEOUT, there)


def _has_bus(fleet: Fleet, project: ProjectPlan, witness: Witness) -> bool:
    conf = effective_configs(fleet.facts[witness.host], project.project)[witness.unit.name]
    return conf.get("DEFAULT", "transport_url") is not None

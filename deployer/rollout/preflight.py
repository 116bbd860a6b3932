"""Look at every host before a run, one exchange each, and judge what was found; later, log in everywhere as a gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deployer.errors import ConfigurationError, Finding, GateFailed, HostsFailed, HybridmsgError, Silence, Unreachable
from deployer.journal.store import RunStore
from deployer.model.catalogue import load_catalogue
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.examined import Examination
from deployer.plan.flapping import changed_options, flapping
from deployer.plan.logins import changing_backends, login_findings, logins
from deployer.plan.planner import Plan, make_plan
from deployer.plan.preflight import (
    driver_findings,
    host_findings,
    mesh_findings,
    plan_findings,
    reachable,
    unit_findings,
    unmoved_findings,
    version_findings,
    waive,
    warning_findings,
)
from deployer.plan.router_facts import RouterFacts
from deployer.plan.stale import Looks
from deployer.plan.strangers import rogue_connections, routers_left, unknown_units
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.memory import recall
from deployer.rollout.outcome import Preflight
from deployer.rollout.routers import ask_fanout


def preflight(deployment: Deployment, store: RunStore, progress: Progress) -> Preflight:
    """Look at every host and judge whether a migration can begin; changes nothing and takes no lock."""
    with Fleet(deployment, progress) as fleet:
        return examine(fleet, store, {})


def read_plan(deployment: Deployment, store: RunStore, progress: Progress) -> Plan:
    """Plan only, without hosts out of reach that are waived; raises HostsFailed, ConfigurationError."""
    with Fleet(deployment, progress) as fleet:
        leave_out_waived(fleet, fleet.examine(deployment.hosts, logging_in=False)[1], progress)
        fleet.observe_cells()
        return make_plan(fleet.deployment, fleet.facts, recall(store))


def leave_out_waived(fleet: Fleet, errors: Mapping[str, HybridmsgError], progress: Progress) -> None:
    """Go on without the hosts out of reach that are waived; raises HostsFailed with the errors of all others."""
    down = {name: error for name, error in errors.items() if isinstance(error, Unreachable)}
    findings = waive(reachable(fleet.deployment, {}, down), fleet.deployment.waive)
    waived = [finding.host for finding in findings if finding.state == "waived"]
    if errors.keys() - {*waived}:
        raise HostsFailed({name: error for name, error in errors.items() if name not in waived})
    tell(findings, progress)
    fleet.leave_out(waived)


def examine(fleet: Fleet, store: RunStore, lost: Mapping[str, HybridmsgError]) -> Preflight:
    """Look at every host that is not `lost` already; hosts out of reach do not keep the others from being looked at.

    Afterwards the fleet goes on without the service hosts among them, and `fleet.facts` has all the others.
    """
    deployment = fleet.deployment
    examined, failed = fleet.examine(name for name in deployment.hosts if name not in lost)
    errors = {**lost, **failed}
    down = {name: error for name, error in errors.items() if isinstance(error, Unreachable)}
    findings = [
        *reachable(deployment, examined, down),
        *(_unread(name, error) for name, error in errors.items() if name not in down),
        *host_findings(examined),
        *unit_findings(deployment, examined),
        *version_findings(deployment, examined),
        *unmoved_findings(deployment),
    ]
    backends = {host.name for host in (*deployment.rabbitmq, *deployment.qdrouterd)}
    fleet.leave_out(name for name in down if name not in backends)
    plan = None
    if all(name in examined for name in fleet.deployment.hosts):
        plan, obstacles = _plan(fleet, recall(store))
        findings += obstacles
    findings += [
        *login_findings(deployment, examined, plan, errors),
        *rogue_connections(deployment, examined, _routers_left(fleet, examined)),
        *unknown_units(deployment, examined, load_catalogue(deployment.directory / "projects")),
    ]
    if plan is not None:
        findings += [*warning_findings(plan), *driver_findings(plan)]
        findings += [*_mesh(fleet, examined, plan), *_flapping(plan, store)]
    return Preflight(waive(findings, deployment.waive), plan)


def tell(findings: Iterable[Finding], progress: Progress) -> None:
    """Tell what is no obstacle and yet worth knowing: what was waived above all."""
    for finding in findings:
        if finding.state in ("told", "waived"):
            progress.event("", f"{finding.state}: {finding}")


def gate_logins(fleet: Fleet) -> None:
    """Let services stop only when every host of theirs is let in by every broker and router; raises GateFailed."""
    deployment = fleet.deployment
    asked = {host.name: own for host in deployment.hosts.values() if (own := logins(deployment, host))}
    answers = fleet.log_in(asked)
    silent = [
        Silence("login", f"{login.user} at {login.peer}", host, refusal.problem, "is not let in")
        for host, own in asked.items()
        for login in own
        if (refusal := answers[host][login.id]) is not None
    ]
    if silent:
        raise GateFailed("login", silent)


def _unread(host: str, error: HybridmsgError) -> Finding:
    return Finding(host, "facts", "failed", str(error).removeprefix(f"{host}: "))


def _plan(fleet: Fleet, looks: Looks) -> tuple[Plan | None, list[Finding]]:
    try:
        fleet.observe_cells()
        return make_plan(fleet.deployment, fleet.facts, looks), []
    except ConfigurationError as refused:
        return None, plan_findings(fleet.deployment, refused.mistakes)
    except HostsFailed as failed:
        return None, [_unread(name, error) for name, error in failed.errors.items()]


def _mesh(fleet: Fleet, examined: Mapping[str, Examination], plan: Plan) -> list[Finding]:
    routers, changing = fleet.deployment.qdrouterd, changing_backends(plan)
    settled = bool(routers) and not any(host.name in changing for host in routers)
    return mesh_findings(fleet.deployment, examined, ask_fanout(fleet) if settled else None)


def _routers_left(fleet: Fleet, examined: Mapping[str, Examination]) -> dict[str, RouterFacts]:
    """Return what the routers tell that projects leave, also those that are in the group no more."""
    left = {name: examined[name].facts.router for name in routers_left(fleet.deployment, examined)}
    asked = ask_each([name for name, router in left.items() if router is None], fleet.ask_routers)[0]
    return {name: router for name, router in {**left, **asked}.items() if router is not None}


def _flapping(plan: Plan, store: RunStore) -> Iterable[Finding]:
    for project in plan.projects:
        yield from flapping(changed_options(project), store.of(plan.deployment).changes(project.project.name))

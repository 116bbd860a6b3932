"""What stands in a run's way, judged from what was read of every host: a Finding for each thing looked at. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from deployer.errors import REACHABLE, Finding, HybridmsgError, Mistake
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.plan.checks import Check
from deployer.plan.examined import Examination
from deployer.plan.expected import active_units
from deployer.plan.observed import HostFacts
from deployer.plan.planner import Plan
from deployer.plan.router_checks import fanout_checks, router_checks
from deployer.plan.router_facts import Fanout
from deployer.plan.warnings import left_alone

DISK_NEEDED = 200_000_000
"""Bytes free: the packages of a broker or a router with what they need take some 120 MB, journals and before-images
of a run a few, and a broker keeps 50 MB free of its own (rabbitmq.com/docs/disk-alarms)."""
CLOCK_SKEW = 30.0
"""Seconds: beyond it certificates may not be valid yet, and journals cannot be laid side by side."""

Examined = Mapping[str, Examination]


def reachable(deployment: Deployment, examined: Examined, lost: Mapping[str, HybridmsgError]) -> list[Finding]:
    """Return whether SSH, sudo and Python of each host answer; of a broker's or router's host they must."""
    backends = {host.name for host in (*deployment.rabbitmq, *deployment.qdrouterd)}
    found = []
    for name in deployment.hosts:
        if name in lost:
            problem = str(lost[name]).removeprefix(f"{name}: ")
            found.append(_lost(name, problem, backend=name in backends))
        elif name in examined:
            found.append(Finding(name, REACHABLE, "ok", f"SSH, sudo and Python {examined[name].python}"))
    return found


def _lost(host: str, problem: str, *, backend: bool) -> Finding:
    if backend:
        return Finding(host, REACHABLE, "failed", problem, "A broker's or router's host cannot be waived")
    remedy = (
        "Mend it, or leave it out of the run by waiving its name: when it comes back its services are on the old bus, "
        "until it is migrated too"
    )
    return Finding(host, REACHABLE, "failed", problem, remedy, waiver=host)


def host_findings(examined: Examined) -> list[Finding]:
    """Return whether each host's disk and clock will do."""
    return [finding for host, one in examined.items() for finding in (_disk(host, one), _clock(host, one))]


def _disk(host: str, one: Examination) -> Finding:
    free = ", ".join(f"{path} has {_mb(size)} free" for path, size in one.disk.items())
    if min(one.disk.values()) >= DISK_NEEDED:
        return Finding(host, "disk", "ok", free)
    remedy = f"Packages, before-images and journals need {_mb(DISK_NEEDED)} on each of these file systems"
    return Finding(host, "disk", "failed", free, remedy)


def _mb(size: int) -> str:
    return f"{size // 1_000_000} MB"


def _clock(host: str, one: Examination) -> Finding:
    detail = f"{abs(one.ahead):.1f} s {'ahead of' if one.ahead > 0 else 'behind'} this machine's"
    if abs(one.ahead) <= CLOCK_SKEW:
        return Finding(host, "clock", "ok", detail)
    remedy = f"Set the clocks, with NTP: more than {CLOCK_SKEW:g} s break certificates and the order of journals"
    return Finding(host, "clock", "failed", detail, remedy)


def unit_findings(deployment: Deployment, examined: Examined) -> list[Finding]:
    """Return, for each host of a project, which of its units are there; one without any is in the wrong group."""
    return [
        _units(project, host.name, examined[host.name].facts)
        for project in deployment.projects
        for host in project.hosts
        if host.name in examined and project.project.managed
    ]


def _units(project: ProjectDeployment, host: str, facts: HostFacts) -> Finding:
    units = [unit for unit in map(facts.first_unit, (unit.names for unit in project.project.units)) if unit]
    if units:
        running = [unit.name for unit in active_units(project, facts)]
        return Finding(host, "units", "ok", f"{project.name}: {', '.join(running) or 'none runs'}")
    looked = ", ".join(unit.names[0] for unit in project.project.units)
    remedy = f"Install it there, or take the host out of the group {project.name}"
    return Finding(host, "units", "failed", f"none of {project.name}'s units exists ({looked})", remedy)


def unmoved_findings(deployment: Deployment) -> list[Finding]:
    """Return what of the projects is left alone, and why."""
    return [Finding("", "left alone", "told", text) for text in left_alone(deployment)]


def version_findings(deployment: Deployment, examined: Examined) -> list[Finding]:
    """Return which RabbitMQ and qdrouterd each of their hosts has, and the oslo.messaging of the services."""
    found = []
    for host, one in examined.items():
        if one.facts.rabbitmq is not None:
            found.append(_version(host, "RabbitMQ", one.facts.rabbitmq.get("version")))
        if one.facts.router is not None:
            view = one.facts.router.view
            found.append(_version(host, "qdrouterd", view.version if view else one.facts.router.version))
        asked = [unit.libraries for unit in one.facts.units.values() if unit.libraries is not None]
        versions = sorted({libraries.oslo_messaging or "none" for libraries in asked})
        if versions and any(one.facts.host == own.name for project in deployment.projects for own in project.hosts):
            found.append(Finding(host, "version", "ok", f"oslo.messaging {', '.join(versions)}"))
    return found


def _version(host: str, of: str, version: str | None) -> Finding:
    if version is None:
        return Finding(host, "version", "later", f"{of} is installed by the run")
    return Finding(host, "version", "ok", f"{of} {version}")


def plan_findings(deployment: Deployment, mistakes: Iterable[Mistake]) -> list[Finding]:
    """Return what the plan refuses as findings of the hosts that it names."""
    return [_of_plan(str(mistake), mistake.file.partition(":")[0], deployment.hosts) for mistake in mistakes]


def _of_plan(problem: str, host: str, hosts: Collection[str]) -> Finding:
    known = host in hosts
    return Finding(host if known else "", "plan", "failed", problem.removeprefix(f"{host}: ") if known else problem)


def warning_findings(plan: Plan) -> list[Finding]:
    """Return what the plan has to tell."""
    return [Finding("", "plan", "told", text) for text in plan.warnings]


def driver_findings(plan: Plan) -> list[Finding]:
    """Return, for each host whose RPC moves to routers, whether its services can load the driver."""
    found: dict[str, Finding] = {}
    for project in plan.projects:
        for host in project.project.hosts if project.rpc.driver == "amqp" else ():
            intents = project.clients.get(host.name, ())
            if intents:
                reasons = "; ".join(intent.reason for intent in intents)
                found[host.name] = Finding(host.name, "driver", "later", f"the run installs {reasons}")
            found.setdefault(
                host.name, Finding(host.name, "driver", "ok", "the services' Pythons load the amqp driver")
            )
    return list(found.values())


def mesh_findings(deployment: Deployment, examined: Examined, fanout: Fanout | None) -> list[Finding]:
    """Return whether the routers know each other and a fanout came once; `fanout` is None while they are to change."""
    if not deployment.qdrouterd:
        return []
    if fanout is None:
        return [Finding("", "mesh", "later", "the routers are made, or changed, first: fanout is proven then")]
    facts = {host.name: examined[host.name].facts for host in deployment.qdrouterd}
    mesh = [_holds(check.target, "mesh", check) for check in router_checks(deployment, facts)]
    return mesh + [_holds("", "fanout", check) for check in fanout_checks(deployment, fanout)]


def _holds(host: str, name: str, check: Check) -> Finding:
    remedy = "" if check.ok else "Are there links between routers, or routers, that hybridmsg did not make?"
    detail = check.detail if host else f"{check.target}: {check.detail}"
    return Finding(host, name, "ok" if check.ok else "failed", detail, remedy)


def waive(findings: Iterable[Finding], names: Collection[str]) -> list[Finding]:
    """Let pass what is waived by name, and tell of names that let nothing pass."""
    found = [
        replace(one, state="waived") if one.state == "failed" and one.waiver in names and one.waiver else one
        for one in findings
    ]
    refused = {one.host for one in found if one.check == REACHABLE and one.state == "failed"}
    known = {one.waiver for one in found} | refused
    idle = [name for name in dict.fromkeys(names) if name not in known]
    told = (f"{name} is waived, and there is nothing of that name to let pass" for name in idle)
    return [*found, *(Finding("", "waiver", "told", text) for text in told)]

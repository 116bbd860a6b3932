"""What a verification asks, and what came back: one Check for each thing that must hold on the bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from deployer.model.deployment import ProjectDeployment
from deployer.model.transports import Transport
from deployer.plan.expected import RpcServer, active_units
from deployer.plan.observed import HostFacts, UnitFact

GRACE = 5.0
"""Seconds that the agent gives the probe beyond its own deadline, so that a slow host's answer is not cut off."""

Kind = Literal["rpc", "notification", "listener", "unit", "router", "old bus", "fanout"]


@dataclass(frozen=True)
class Check:
    """One thing that was asked of the bus. `ms` is the round trip in milliseconds, None when there was none."""

    project: str
    kind: Kind
    target: str
    ok: bool
    detail: str
    asked_from: str
    ms: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the check for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Witness:
    """Who asks: a unit of the project, on a host of its own, in whose interpreter the probe runs."""

    host: str
    unit: UnitFact


def witnesses(project: ProjectDeployment, facts: Iterable[HostFacts]) -> list[Witness]:
    """Return the units that can ask on the project's behalf, one a host; empty when nothing of it runs."""
    found = []
    for fact in facts:
        units = [unit for unit in active_units(project, fact) if unit.interpreter and project.project.managed]
        found += [Witness(fact.host, unit) for unit in units[:1]]
    return found


def probe_request(
    project: ProjectDeployment, witness: Witness, servers: Sequence[RpcServer], topic: str | None, timeout: float
) -> dict[str, Any]:
    """Return the agent's `probe` arguments: ping `servers`, and send a notification round on `topic` unless None.

    The probe reads the unit's own configuration files, so that what it proves is what the unit has.
    """
    request = {
        **config_words(project, witness.unit),
        "exchange": project.project.exchange,
        "context": dict(project.project.context),
        "url": None,
        "targets": [{"topic": server.topic, "server": server.server} for server in servers],
        "timeout": timeout,
        "notify": {"topic": topic, "url": None, "publisher": f"hybridmsg.{witness.host}"} if topic else None,
    }
    unit = witness.unit
    return {"interpreter": unit.interpreter, "user": unit.user, "request": request, "timeout": timeout + GRACE}


def config_words(project: ProjectDeployment, unit: UnitFact) -> dict[str, list[str]]:
    """Return the files and directories that let another program read what the unit reads, in the same order."""
    if unit.config is not None:
        return {"config_files": list(unit.config.files), "config_dirs": []}
    files = unit.options("--config-file") or list(project.project.files)
    return {"config_files": files, "config_dirs": unit.options("--config-dir")}


def read_answer(
    project: ProjectDeployment, witness: Witness, answer: dict[str, Any], bus: Transport | None
) -> list[Check]:
    """Return the checks that a probe's answer holds.

    The probe sees what the unit sees, whichever of its files or variables says so: with `bus`, an answer over another
    bus than that one holds nothing.
    """
    effective = answer.get("effective") or {}
    over = f" over {effective['rpc_driver']}" if "rpc_driver" in effective else ""
    checks = [_rpc_check(project.name, witness.host, target, over) for target in answer["targets"]]
    elsewhere = bus is not None and _elsewhere(bus, effective)
    if elsewhere:
        checks = [replace(check, ok=False, detail=f"the unit is on another bus: {elsewhere}") for check in checks]
    if answer.get("notify"):
        checks.append(_notify_check(project.name, witness.host, answer["notify"]))
    return checks


def listener_checks(
    listener: ProjectDeployment, vhosts: Mapping[str, str], consumers: Sequence[Mapping[str, str]]
) -> list[Check]:
    """Return whether the listener consumes its topics (queues TOPIC.PRIORITY) in each vhost, by notifying project."""
    topics = listener.project.listener.topics if listener.project.listener else ()
    return [
        _listener_check(listener, f"{topic}.* of {name}", attached=_consumes(vhost, topic, consumers))
        for name, vhost in vhosts.items()
        for topic in topics
    ]


def no_answer(
    project: ProjectDeployment, witness: Witness, servers: Sequence[RpcServer], problem: str, *, notify: bool
) -> list[Check]:
    """Return the failing checks of a question that could not even be put."""
    asked: list[tuple[Kind, str]] = [("rpc", server.address) for server in servers]
    asked += [("notification", "own topic")] if notify else []
    return [Check(project.name, kind, target, False, problem, witness.host) for kind, target in asked]


def unit_checks(recorded: Mapping[str, Mapping[str, Mapping[str, str]]], facts: Mapping[str, HostFacts]) -> list[Check]:
    """Return a failing check for each unit that was recorded as running and does not run now; by host and unit."""
    return [
        Check("", "unit", name, False, f"ran before, is {facts[host].units[name].active}", host)
        for host, units in recorded.items()
        if host in facts
        for name, state in units.items()
        if state["active"] == "active" and name in facts[host].units and facts[host].units[name].active != "active"
    ]


def restart_checks(project: ProjectDeployment, ran: Sequence[HostFacts], facts: Mapping[str, HostFacts]) -> list[Check]:
    """Return a failing check for each unit of the project that came up since it `ran`, died, and was started again."""
    return [
        Check("", "unit", unit.name, False, f"died after its start, {unit.restarts} times until now", before.host)
        for before in ran
        if before.host in facts
        for unit in active_units(project, facts[before.host])
        if unit.restarts and unit.invocation != before.units[unit.name].invocation
    ]


def _elsewhere(bus: Transport, effective: Mapping[str, Any]) -> str:
    """Return where the unit's RPC goes when that is not `bus`, "" when it is or the probe could not tell."""
    if "rpc_hosts" not in effective:
        return ""
    wanted = {f"{host.lower()}:{bus.port}" for host in bus.hosts}
    seen = {str(host).replace("[", "").replace("]", "").lower() for host in effective["rpc_hosts"]}
    if (effective["rpc_driver"], seen) == (bus.driver, wanted):
        return ""
    return f"{effective['rpc_driver']} at {', '.join(sorted(seen)) or 'no host'}"


def _consumes(vhost: str, topic: str, consumers: Sequence[Mapping[str, str]]) -> bool:
    return any(one["vhost"] == vhost and one["queue"].startswith(f"{topic}.") for one in consumers)


def _listener_check(listener: ProjectDeployment, target: str, *, attached: bool) -> Check:
    detail = "consumer attached" if attached else "no consumer on the broker"
    return Check(listener.name, "listener", target, attached, detail, "rabbitmq")


def _rpc_check(project: str, host: str, target: dict[str, Any], over: str) -> Check:
    address = f"{target['topic']}@{target['server']}"
    detail = f"{target['how']}{over}" if target["answered"] else target["error"] or "no answer"
    return Check(project, "rpc", address, target["answered"], detail, host, target.get("ms"))


def _notify_check(project: str, host: str, outcome: dict[str, Any]) -> Check:
    detail = "published and read back" if outcome["delivered"] else outcome["error"] or "not read back"
    if not outcome["queue_deleted"]:
        detail += "; its queue could not be deleted"
    return Check(project, "notification", "own topic", outcome["delivered"], detail, host, outcome.get("ms"))

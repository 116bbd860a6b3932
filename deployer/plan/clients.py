"""What the interpreters of a project's services must have, and what in their environment stands in the way. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deployer.errors import Mistake
from deployer.model.deployment import ProjectDeployment
from deployer.model.transports import Transports
from deployer.plan.expected import active_units
from deployer.plan.observed import HostFacts, Libraries, UnitFact
from deployer.plan.steps import Intent
from deployer.plan.wanted import written_options

LAST_MAJOR = 14
"""The amqp driver is in oslo.messaging up to 14.9 and gone from 15.0."""

_SYSTEM_PYTHON = re.compile(r"(/usr)?/bin/python3[0-9.]*")
_BACK = "or empty the group qdrouterd, which keeps RPC on RabbitMQ"


def client_obstacles(project: ProjectDeployment, transports: Transports, facts: Iterable[HostFacts]) -> list[Mistake]:
    """Return why services of the project could not use its buses: no driver, or an environment that says otherwise."""
    found = []
    for fact in facts:
        found += [_overridden(fact, project, unit, transports) for unit in active_units(project, fact)]
        if transports.rpc.driver == "amqp":
            found += [_unfit(fact, units) for units in _by_interpreter(project, fact)]
            found += [_unknown(fact, unit) for unit in active_units(project, fact) if unit.libraries is None]
            found += [*_rabbit_only(fact, project), *_threaded(fact, project)]
    return [mistake for mistake in found if mistake is not None]


def client_intents(
    project: ProjectDeployment, facts: Iterable[HostFacts], timeout: float
) -> dict[str, tuple[Intent, ...]]:
    """Return, by host, the installation of what the amqp driver needs and an interpreter lacks; `timeout` (s) each."""
    found = {}
    for fact in facts:
        missing = [_install(fact, units[0], timeout) for units in _by_interpreter(project, fact)]
        found[fact.host] = tuple(intent for intent in missing if intent is not None)
    return {host: intents for host, intents in found.items() if intents}


def _by_interpreter(project: ProjectDeployment, facts: HostFacts) -> Iterator[list[UnitFact]]:
    """Yield the active units that share an interpreter; what it has was asked of each of them."""
    units = [unit for unit in active_units(project, facts) if unit.interpreter and unit.libraries]
    for interpreter in dict.fromkeys(unit.interpreter for unit in units):
        yield [unit for unit in units if unit.interpreter == interpreter]


def _overridden(facts: HostFacts, project: ProjectDeployment, unit: UnitFact, transports: Transports) -> Mistake | None:
    # oslo_config/sources/_environment.py: OS_GROUP__OPTION, and it comes before every file.
    ours = {f"OS_{section}__{key}".upper() for section, key in written_options(project, transports)}
    names = ", ".join(name for name in unit.environment if name in ours)
    if not names:
        return None
    problem = f"its environment sets {names}, and oslo.config puts that before {project.project.files[0]}"
    remedy = f"Remove it (systemctl show -p Environment,EnvironmentFiles,FragmentPath,DropInPaths {unit.name})"
    return Mistake(f"{facts.host}: {unit.name}", "", f"{problem}. {remedy}, and restart the unit")


def _unfit(facts: HostFacts, units: list[UnitFact]) -> Mistake | None:
    interpreter, libraries = units[0].interpreter, units[0].libraries
    problem = _without_driver(libraries) if libraries else ""
    if problem:
        problem = f"{problem}. Install an older or complete oslo.messaging (below 15) for {interpreter}, {_BACK}"
    elif libraries and _missing(libraries) and _is_system(units[0]) and facts.package_manager is None:
        problem = f"{interpreter} lacks {' and '.join(_missing(libraries))}, and the host has neither apt nor dnf"
        problem = f"{problem}. Install python3-pyngus and python3-qpid-proton there, {_BACK}"
    return Mistake(f"{facts.host}: {', '.join(unit.name for unit in units)}", "", problem) if problem else None


def _unknown(facts: HostFacts, unit: UnitFact) -> Mistake:
    problem = (
        f"its interpreter cannot be told, so nobody knows whether it has the amqp driver. Run it by its python, {_BACK}"
    )
    return Mistake(f"{facts.host}: {unit.name}", "", problem)


def _rabbit_only(facts: HostFacts, project: ProjectDeployment) -> Iterator[Mistake]:
    for unit in project.project.units:
        fact = facts.first_unit(unit.names)
        if unit.rabbit_only and fact is not None and fact.running:
            problem = f"needs RabbitMQ as its RPC bus: {unit.rabbit_only}. So {_pin(project)}"
            yield Mistake(f"{facts.host}: {fact.name}", "", problem)


def _threaded(facts: HostFacts, project: ProjectDeployment) -> Iterator[Mistake]:
    for unit in project.project.units:
        fact = facts.first_unit(unit.names)
        if unit.one_thread and fact is not None and fact.running and fact.threads > 1:
            why = "eventlet has replaced Python's threads there, and the amqp driver lives inside one of them"
            problem = f"runs with {fact.threads} threads a process, and would hang over routers: {why}"
            remedy = f"Set threads = 1, with more processes, where uWSGI or Apache starts it, or {_pin(project)}"
            yield Mistake(f"{facts.host}: {fact.name}", "", f"{problem}. {remedy}")


def _pin(project: ProjectDeployment) -> str:
    name = project.name
    return f"leave {name}'s RPC on RabbitMQ: {name}_oslomsg_rpc_transport: rabbit, below data in defaults.yaml"


def _without_driver(libraries: Libraries) -> str:
    version = libraries.oslo_messaging
    if version is None:
        return "its interpreter has no oslo.messaging"
    major = re.match(r"\d+", version)
    if major and int(major[0]) > LAST_MAJOR:
        return f"its oslo.messaging {version} has no amqp driver any more"
    return "" if libraries.amqp else f"its oslo.messaging {version} came without the amqp driver (impl_amqp1.py)"


def _install(facts: HostFacts, unit: UnitFact, timeout: float) -> Intent | None:
    missing = _missing(unit.libraries) if unit.libraries else {}
    if not missing:
        return None
    reason = f"{' and '.join(missing)} for {unit.interpreter}: the amqp driver needs it"
    if _is_system(unit):
        names = list(missing.values())
        return Intent("package.install", {"names": names, "manager": facts.package_manager, "timeout": timeout}, reason)
    args = {"interpreter": unit.interpreter, "names": list(missing), "timeout": timeout}
    return Intent("python.install", args, reason)


def _missing(libraries: Libraries) -> dict[str, str]:
    """Return what is missing: its name on PyPI, and that of the package, alike in Debian and RDO."""
    pyngus = {} if libraries.pyngus else {"pyngus": "python3-pyngus"}
    proton = {} if libraries.proton else {"python-qpid-proton": "python3-qpid-proton"}
    return pyngus | proton


def _is_system(unit: UnitFact) -> bool:
    return _SYSTEM_PYTHON.fullmatch(unit.interpreter or "") is not None

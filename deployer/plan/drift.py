"""Where the cloud is not what its inventory says: the plan, and what answers, as a list of differences. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from deployer.errors import Mistake
from deployer.ini import IniFile
from deployer.model.masking import mask
from deployer.plan.checks import Check
from deployer.plan.flapping import changed_options
from deployer.plan.planner import Plan
from deployer.plan.projects import ProjectPlan
from deployer.plan.service_files import FileEdit
from deployer.plan.steps import Intent, Wave

Kind = Literal["option", "package", "router", "sasl-user", "broker", "cell", "stale", "rpc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Every kind of drift, in the order in which they are told."""
DEEP: frozenset[Kind] = frozenset({"broker", "cell", "rpc"})
"""The kinds that only a deep look finds: broker definitions, cell mappings, answers over the wire."""

# Waits find nothing, and what is imported is told line by line.
_UNTOLD = ("router.await", "rabbitmq.await", "rabbitmq.import")


@dataclass(frozen=True)
class Drift:
    """One difference: `what` names the thing (a file's option, a unit, a user), `detail` tells it, values masked.

    `host` and `project` are "" for what is of no single one.
    """

    kind: Kind
    host: str
    project: str
    what: str
    detail: str

    @property
    def deep(self) -> bool:
        """Whether only a deep look finds it."""
        return self.kind in DEEP

    def record(self) -> dict[str, Any]:
        """Return it for JSON: its fields and `deep`."""
        return asdict(self) | {"deep": self.deep}

    def __str__(self) -> str:
        where = f"{self.host}: " if self.host else ""
        return f"{where}{self.project + ': ' if self.project else ''}{self.what}: {self.detail}"


def drift(plan: Plan, checks: Iterable[Check] = ()) -> list[Drift]:
    """Return all that the plan would change, and each of the checks that does not hold, sorted by kind.

    Of a project that the plan changes anyway no answer is missed: it is on another bus than planned, most likely.
    """
    changed = {project.project.name for project in plan.projects if project.changed}
    found = [
        *(one for project in plan.projects for one in _of_project(project)),
        *(one for wave in plan.routers.waves for one in _of_backend(wave, "router")),
        *(one for wave in plan.brokers.waves for one in _of_backend(wave, "broker")),
        *(Drift("broker", "", "", "definitions", mask(line)) for line in plan.brokers.definitions),
        *(_of_check(check) for check in checks if not check.ok and check.project not in changed),
    ]
    return sorted(dict.fromkeys(found), key=lambda one: KINDS.index(one.kind))


def defeats(mistakes: Iterable[Mistake], hosts: Collection[str]) -> list[Drift]:
    """Return what keeps a plan from being made, which no run repairs: most often what defeats an option in a file.

    `hosts` are the inventory's, whose names a mistake's place may begin with.
    """
    return [_of_mistake(mistake, hosts) for mistake in mistakes]


def _of_project(project: ProjectPlan) -> Iterator[Drift]:
    name = project.project.name
    for host, options in changed_options(project).items():
        edits = {edit.path: edit for edit in project.edits[host]}
        for path, names in options.items():
            yield from (_of_option(host, name, edits[path], *option.rsplit("/", 1)) for option in names)
    for host, intents in project.clients.items():
        yield from (Drift("package", host, name, _packages(one), one.reason) for one in intents)
    for host, intents in project.cells.items():
        yield from (Drift("cell", host, name, "cell mappings", one.reason) for one in intents)
    for host, units in project.stale.items():
        yield from (Drift("stale", host, name, unit, reason) for unit, reason in units.items())


def _of_option(host: str, project: str, edit: FileEdit, section: str, key: str) -> Drift:
    was, wanted = (_told(ini, section, key) for ini in (edit.fact.ini, IniFile.parse(edit.after.reveal(), edit.path)))
    detail = f"is {was}, is to be {wanted}" if was != wanted else f"is {was} with another password"
    return Drift("option", host, project, f"{edit.path} [{section}] {key}", detail)


def _told(ini: IniFile, section: str, key: str) -> str:
    """Return an option's values for people; a name that tells of a secret masks its values too."""
    values = [mask(f"{key} = {value}").removeprefix(f"{key} = ").strip() for value in ini.get_all(section, key)]
    return " and ".join(value or "empty" for value in values) or "not set"


def _of_backend(wave: Wave, kind: Literal["router", "broker"]) -> Iterator[Drift]:
    for host, intents in wave.intents.items():
        for intent in intents:
            if intent.kind not in _UNTOLD:
                yield from _of_intent(host, intent, kind)


def _of_intent(host: str, intent: Intent, kind: Literal["router", "broker"]) -> Iterator[Drift]:
    args = intent.args
    if intent.kind.startswith("package."):
        yield Drift("package", host, "", _packages(intent), intent.reason)
    elif intent.kind == "sasl.users":
        for user in args["users_b64"]:
            yield Drift("sasl-user", host, "", f"{user}@{args['realm']}", "is unknown there, or not let in")
    elif intent.kind == "router.update":
        yield from _of_entities(host, args["delete"], args["create"])
    elif intent.kind == "file.write":
        yield Drift(kind, host, "", args["path"], "is not as it is to be")
    else:
        yield Drift(kind, host, "", str(args.get("unit", intent.kind)), intent.reason)


def _of_entities(
    host: str, delete: Sequence[Mapping[str, str]], create: Sequence[Mapping[str, str]]
) -> Iterator[Drift]:
    leaving, coming = ([f"{one['type']} {one['name']}" for one in entities] for entities in (delete, create))
    for entity in dict.fromkeys([*leaving, *coming]):
        detail = (
            "is missing" if entity not in leaving else "is not as it is to be" if entity in coming else "is too many"
        )
        yield Drift("router", host, "", entity, detail)


def _packages(intent: Intent) -> str:
    return ", ".join(intent.args.get("names") or [intent.args["name"]])


def _of_check(check: Check) -> Drift:
    kind: Kind = "router" if check.kind == "router" else "rpc"
    what = check.target if check.kind in ("rpc", "router") else f"{check.kind} {check.target}"
    asked = f" (asked from {check.asked_from})" if check.asked_from else ""
    return Drift(kind, check.target if kind == "router" else "", check.project, what, f"{check.detail}{asked}")


def _of_mistake(mistake: Mistake, hosts: Collection[str]) -> Drift:
    host, _, what = mistake.file.partition(": ")
    known = host in hosts
    line = "" if mistake.line is None else f":{mistake.line}"
    place = f"{what if known and what else mistake.file}{line}" if what or not known else mistake.path or "plan"
    detail = f"{mistake.path}: {mistake.problem}" if mistake.path else mistake.problem
    return Drift("option", host if known else "", "", place, detail)

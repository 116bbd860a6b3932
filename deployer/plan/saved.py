"""A plan to be carried out later, as it was shown: what it was made from by hash, masked diffs, and no secret. Pure.

Of each project a fingerprint stands for all that hosts would be told. It is keyed with a salt of the plan's own, so
that equal passwords of two plans do not show, and is compared with that of a plan made afresh: nothing is carried out
that nobody has seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deployer.plan.broker_definitions import definitions
from deployer.plan.planner import Plan
from deployer.plan.projects import ProjectPlan
from deployer.plan.steps import Intent, Wave

SCHEMA = 1
_ELSEWHERE = "the inventory, or hybridmsg itself, wants something else of it than when the plan was made"


@dataclass(frozen=True)
class SavedFile:
    """A file that the plan changes: the sha256 that it was made from (None: absent), and its masked diff."""

    host: str
    path: str
    sha256: str | None
    diff: str


@dataclass(frozen=True)
class SavedProject:
    """One project's part; `units` has the units that stop for it, by host, `lines` what becomes of cells."""

    fingerprint: str
    files: tuple[SavedFile, ...]
    units: dict[str, tuple[str, ...]]
    lines: tuple[str, ...]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> SavedProject:
        """Read a project's part of a document."""
        files = tuple(SavedFile(**one) for one in raw["files"])
        units = {host: tuple(names) for host, names in raw["units"].items()}
        return cls(raw["fingerprint"], files, units, tuple(raw["lines"]))


@dataclass(frozen=True)
class SavedBackends:
    """The part of brokers and routers; `acts` has a line for people for each act on each host."""

    fingerprint: str
    acts: tuple[str, ...]


@dataclass(frozen=True)
class SavedPlan:
    """`made` is ISO 8601 in UTC, `inventory` the directory's absolute path, `salt` hexadecimal."""

    made: str
    who: str
    inventory: str
    salt: str
    projects: dict[str, SavedProject]
    backends: SavedBackends

    @classmethod
    def of(cls, plan: Plan, made: str, who: str, inventory: str, salt: str) -> SavedPlan:
        """Return what is to be kept of a plan."""
        projects = {one.project.name: _project(one, salt) for one in plan.projects}
        return cls(made, who, inventory, salt, projects, _backends(plan, salt))

    def document(self) -> dict[str, Any]:
        """Return the plan as plain JSON values; `sum` tells a damaged file."""
        found = {"schema": SCHEMA, **asdict(self)}
        return {**found, "sum": _sum(found)}

    @classmethod
    def read(cls, document: object) -> SavedPlan:
        """Read a document; raises ValueError saying why it is no plan that can be carried out."""
        if not isinstance(document, dict) or "schema" not in document:
            raise ValueError("it is no saved plan")
        if document["schema"] != SCHEMA:
            raise ValueError(
                f"another version of hybridmsg wrote it: its schema is {document['schema']!r}, not {SCHEMA}"
            )
        found = {key: value for key, value in document.items() if key != "sum"}
        if document.get("sum") != _sum(found):
            raise ValueError("it is damaged: its checksum does not hold")
        projects = {name: SavedProject.of(one) for name, one in found.pop("projects").items()}
        backends = SavedBackends(found["backends"]["fingerprint"], tuple(found["backends"]["acts"]))
        made, who, inventory, salt = (found[key] for key in ("made", "who", "inventory", "salt"))
        return cls(made, who, inventory, salt, projects, backends)

    def stale_projects(self, plan: Plan) -> dict[str, tuple[str, ...]]:
        """Return, by project, why it is not to be carried out with a plan made afresh.

        One with nothing left to do is not stale: it is there already, be it by this very plan.
        """
        now = {one.project.name: _project(one, self.salt) for one in plan.projects if one.changed}
        found = {
            name: _differences(self.projects[name], one) if name in self.projects else ("it is new in the inventory",)
            for name, one in now.items()
            if name not in self.projects or self.projects[name].fingerprint != one.fingerprint
        }
        here = {one.project.name for one in plan.projects}
        return found | {name: ("it is no longer in the inventory",) for name in self.projects if name not in here}

    def stale_backends(self, plan: Plan) -> tuple[str, ...]:
        """Return what is to be done on brokers and routers that is not as saved, empty when all is, or is done."""
        now = _backends(plan, self.salt)
        if not now.acts or now.fingerprint == self.backends.fingerprint:
            return ()
        gone = [f"no longer to do: {act}" for act in self.backends.acts if act not in now.acts]
        new = [f"to do now: {act}" for act in now.acts if act not in self.backends.acts]
        return (*gone, *new) or (_ELSEWHERE,)


def fingerprint(plan: Plan, salt: str) -> str:
    """Return what stands for all that a plan tells hosts, keyed with a salt (hexadecimal)."""
    projects = [[one.project.name, _project(one, salt).fingerprint] for one in plan.projects if one.changed]
    return _fingerprint([projects, _backends(plan, salt).fingerprint], salt)


def _project(plan: ProjectPlan, salt: str) -> SavedProject:
    edits = [(host, edit) for host, own in sorted(plan.edits.items()) for edit in own]
    files = tuple(SavedFile(host, edit.path, edit.fact.sha256, edit.diff()) for host, edit in edits)
    staged = Wave("", plan.scope, plan.clients)
    material = [_wave(wave) for wave in (staged, *plan.switch_waves())]
    return SavedProject(_fingerprint(material, salt), files, dict(plan.units), plan.lines)


def _backends(plan: Plan, salt: str) -> SavedBackends:
    waves = (*plan.brokers.waves, *plan.brokers.expected, *plan.routers.waves)
    acts = [f"{host}: {one.reason}" for wave in waves for host, own in wave.intents.items() for one in own]
    deployment = plan.deployment
    # In the broker's document they are hashed with a salt that is another each time.
    users = {one.name: definitions(deployment, one, None).users for one in deployment.clusters} if acts else {}
    passwords = {name: {user: secret.reveal() for user, secret in own.items()} for name, own in users.items()}
    return SavedBackends(_fingerprint([passwords, *map(_wave, waves)], salt), tuple(acts))


def _wave(wave: Wave) -> list[object]:
    acts = {host: [[one.kind, _args(one), one.preimage] for one in own] for host, own in wave.intents.items()}
    return [wave.scope, wave.serial, acts]


def _args(intent: Intent) -> dict[str, Any]:
    if intent.kind != "rabbitmq.import":
        return intent.args
    document = json.loads(base64.b64decode(intent.args["definitions_b64"]))
    users = [{**user, "password_hash": ""} for user in document.get("users", [])]
    return {**intent.args, "definitions_b64": {**document, "users": users}}


def _differences(saved: SavedProject, now: SavedProject) -> tuple[str, ...]:
    return (*_files(saved.files, now.files), *_units(saved.units, now.units)) or (_ELSEWHERE,)


def _files(saved: Iterable[SavedFile], now: Iterable[SavedFile]) -> list[str]:
    before, after = ({(one.host, one.path): one for one in files} for files in (saved, now))
    found = [
        f"{host}: {path} changed since the plan was made"
        for (host, path), one in after.items()
        if (host, path) in before and before[host, path].sha256 != one.sha256
    ]
    found += [f"{host}: {path} is to be changed now too" for host, path in after if (host, path) not in before]
    return found + [
        f"{host}: {path} is not to be changed any more" for host, path in before if (host, path) not in after
    ]


def _units(saved: Mapping[str, tuple[str, ...]], now: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [
        f"{host}: the units to be restarted are now {', '.join(now.get(host, ())) or 'none'}, "
        f"and were {', '.join(saved.get(host, ())) or 'none'}"
        for host in sorted({*saved, *now})
        if saved.get(host, ()) != now.get(host, ())
    ]


def _fingerprint(material: object, salt: str) -> str:
    return hmac.new(bytes.fromhex(salt), _canonical(material), hashlib.sha256).hexdigest()


def _sum(document: object) -> str:
    return hashlib.sha256(_canonical(document)).hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()

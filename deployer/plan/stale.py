"""Services that run on other messaging options than their files hold by now: what was seen of them. Pure.

A service reads its files when it starts. It is stale when one of them was written after that, and its messaging options
(transport URLs, the oslo_messaging groups, what a listener reads) may be others than those that it started with. A file
that somebody touched for another reason makes nothing stale, as far as that can be proven. What a process runs on is
known, in this order:

1. A look at the same start of the unit (systemd's invocation) knew it: a process does not read its files again.
2. None of its files changed after it started. Where it was looked at before, ctime tells that, which nobody can set;
   where it never was, mtime: whoever set owners or modes since wrote no option.
3. Its files are the very versions (inode, mtime, content) of a look that knew it, or that was before this start: clocks
   have no say in that, so that one that was set, or a file from the future, makes nothing stale for ever.

Otherwise nobody knows, and it is stale. It is restarted for that once: afterwards 2 or 3 holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment, ProjectDeployment
from deployer.plan import notify_bus
from deployer.plan.effective import Effective, Name, effective_configs
from deployer.plan.expected import active_units
from deployer.plan.observed import FileFact, HostFacts, UnitFact
from deployer.plan.wanted import AMQP, RPC_URL

SLACK = 0.5
"""Seconds from a process's begin until it reads its files, at least: Python has to load oslo.config before."""

_SCHEME = "1"
_GROUPS = ("oslo_messaging_", "amqp1")
_OPTIONS = frozenset({RPC_URL, ("DEFAULT", "control_exchange"), notify_bus.OLD_URL, notify_bus.OLD_DRIVER})
_MULTI = frozenset({(notify_bus.SECTION, "driver"), notify_bus.OLD_DRIVER, (AMQP, "pre_settled")})


@dataclass(frozen=True)
class Look:
    """What was seen of a running unit: its start (systemd's invocation, else when), the version of each file it reads.

    `held` is the digest of the messaging options in its files, `runs_on` that of those which its process has, None
    where nobody knows; they compare with digests of the same `scheme` only. No secret can be read from it.
    """

    invocation: str
    scheme: str
    held: str
    runs_on: str | None
    files: Mapping[str, str] = field(repr=False)

    @property
    def stale(self) -> bool:
        """Whether the process may run on other messaging options than its files hold."""
        return self.runs_on != self.held

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Look:
        """Read it back from JSON; raises TypeError when it is none."""
        return cls(**raw)

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


Looks = Mapping[str, Mapping[str, Look]]
"""The last look at each unit, by host and unit."""


def look(deployment: Deployment, facts: Mapping[str, HostFacts], before: Looks) -> dict[str, dict[str, Look]]:
    """Return the looks that the hosts give now, with what was seen `before` of what does not run or was not asked.

    A project whose files cannot be read is left as it was seen.
    """
    found = {host: dict(own) for host, own in before.items()}
    for project in deployment.projects:
        for host in project.hosts:
            if host.name in facts:
                with suppress(ConfigurationError):
                    seen = _look_at(project, facts[host.name], found.get(host.name, {}))
                    found.setdefault(host.name, {}).update(seen)
    return found


def stale_units(project: ProjectDeployment, facts: Mapping[str, HostFacts], before: Looks) -> dict[str, dict[str, str]]:
    """Return, by host, the running units of the project that are stale, each with the reason for people.

    Raises ConfigurationError when a file cannot be read.
    """
    found: dict[str, dict[str, str]] = {}
    for host in project.hosts:
        fact = facts[host.name]
        looks = _look_at(project, fact, before.get(host.name, {}))
        for unit in active_units(project, fact):
            if unit.name in looks and looks[unit.name].stale:
                found.setdefault(host.name, {})[unit.name] = _reason(fact, unit, looks[unit.name])
    return found


def _look_at(project: ProjectDeployment, facts: HostFacts, before: Mapping[str, Look]) -> dict[str, Look]:
    configs = effective_configs(facts, project)
    units = [unit for unit in active_units(project, facts) if unit.name in configs and unit.started is not None]
    return {unit.name: _look(project, facts, unit, configs[unit.name], before.get(unit.name)) for unit in units}


def _look(project: ProjectDeployment, facts: HostFacts, unit: UnitFact, conf: Effective, before: Look | None) -> Look:
    files = [facts.files[path] for path, _ in conf.files]
    versions = {fact.path: f"{fact.inode} {fact.mtime_ns} {fact.sha256}" for fact in files}
    now = Look(unit.invocation or f"{unit.started:.0f}", _scheme(project), _digest(project, conf), None, versions)
    changed = any(_changed_since(fact, unit, seen=before is not None) for fact in files)
    return replace(now, runs_on=_runs_on(now, before, changed=changed))


def _runs_on(now: Look, before: Look | None, *, changed: bool) -> str | None:
    """Return the digest of what the process has; `changed`: a file did after it started. The module tells the rules."""
    same_start = before is not None and before.invocation == now.invocation
    if before is not None and same_start and before.runs_on is not None and before.scheme == now.scheme:
        return before.runs_on
    if not changed:
        return now.held
    proven = before is not None and before.files == now.files and not (same_start and before.stale)
    return now.held if proven else None


def _changed_since(fact: FileFact, unit: UnitFact, *, seen: bool) -> bool:
    changed = max(fact.mtime_ns, fact.ctime_ns) if seen else fact.mtime_ns
    return unit.started is not None and changed / 1e9 > unit.started + SLACK


def _reason(facts: HostFacts, unit: UnitFact, seen: Look) -> str:
    if seen.runs_on is not None:
        return "runs on other messaging options than its files hold: they changed after it had started"
    changed = [path for path in seen.files if _changed_since(facts.files[path], unit, seen=True)]
    return f"was started before {' and '.join(changed)} changed, and nobody saw which messaging options it has"


def _scheme(project: ProjectDeployment) -> str:
    """Return what says which options a digest is of: another catalogue, or release, may take others."""
    return f"{_SCHEME} {'/'.join(_listened(project))}"


def _listened(project: ProjectDeployment) -> tuple[str, ...]:
    listener = project.project.listener
    return (listener.section, listener.key) if listener else ()


def _digest(project: ProjectDeployment, conf: Effective) -> str:
    """Return a hash of the messaging options that the unit's files come to, whatever else stands in them."""
    options = [[*name, *_values(conf, name, project)] for name in sorted(set(_messaging(project, conf)))]
    return hashlib.sha256(json.dumps(options).encode()).hexdigest()


def _messaging(project: ProjectDeployment, conf: Effective) -> Iterator[Name]:
    ours = {*_OPTIONS, _listened(project)}
    for _, ini in conf.files:
        yield from (name for name in ini.options() if name in ours or name[0].startswith(_GROUPS))


def _values(conf: Effective, name: Name, project: ProjectDeployment) -> list[str]:
    try:
        values = [found.value for found in conf.get_all(*name)]
    except ConfigurationError:
        # It refers to what no file sets: as written it tells a change all the same.
        values = [written for _, ini in conf.files for written in ini.get_all(*name)]
    return values if name in {*_MULTI, _listened(project)} else values[-1:]

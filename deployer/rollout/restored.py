"""What has become of a run's files and units after its rollback, by reading the hosts again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from deployer.journal.run import Run
from deployer.model.deployment import ProjectDeployment
from deployer.plan.observed import HostFacts
from deployer.plan.query import query
from deployer.rollout.fleet import Fleet
from deployer.rollout.outcome import Restored
from deployer.rollout.returns import files_of
from deployer.rollout.undo import FILES, Entry, read_journals


def look(fleet: Fleet, run: Run, projects: Iterable[ProjectDeployment]) -> list[Restored]:
    """Return each file and unit of these projects that the run was to change, with whether it is what it was before.

    A file in which edits of others stay is to be what the hosts' journals say was put there. Raises HostsFailed.
    """
    files: dict[str, list[str]] = {}
    units: dict[str, list[str]] = {}
    for project in projects:
        names = {name for unit in project.project.units for name in unit.names}
        for host in (one.name for one in project.hosts if one.name in run.units):
            files.setdefault(host, []).extend(files_of(run, host, project))
            units.setdefault(host, []).extend(name for name in run.units[host] if name in names)
    facts = fleet.ask_facts({host: query(own, units[host]) for host, own in files.items()})
    journals = read_journals(fleet, files, run.run)
    found: list[Restored] = []
    for host, fact in facts.items():
        back = _put_back(journals[host])
        found += [_file(run, fact, path, back.get(fact.files[path].real or path)) for path in files[host]]
        found += _units(run, fact, units[host])
    return found


def _put_back(entries: Iterable[Entry]) -> dict[str, str | None]:
    """Return by path the sha256 of what was put there last: by the undo of its oldest write, which comes last."""
    undone = [one for one in entries if one["kind"] in FILES and one["status"] == "undone"]
    return {one["target"]: one["after"].get("sha256") for one in reversed(undone)}


def _file(run: Run, facts: HostFacts, path: str, back: str | None) -> Restored:
    now = facts.files[path].identity()
    before = {key: run.files[facts.host][path][key] for key in now}
    if back is None or back == before["sha256"] or back != now["sha256"]:
        return _same(facts.host, path, before, now)
    found = _same(facts.host, path, {**before, "sha256": back}, now)
    kept = "what the run set is as before; what others changed since is kept"
    return Restored(found.host, path, found.same, kept if found.same else found.detail)


def _units(run: Run, facts: HostFacts, names: Collection[str]) -> Iterator[Restored]:
    for name in dict.fromkeys(names):
        unit = facts.units[name]
        yield _same(facts.host, name, run.units[facts.host][name], {"active": unit.active, "enabled": unit.enabled})


def _same(host: str, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Restored:
    differs = [f"{key} was {before[key]}, is {now[key]}" for key in before if before[key] != now[key]]
    return Restored(host, what, not differs, "; ".join(differs) or "as before")

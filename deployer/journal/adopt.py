"""Runs that hosts know and this record does not, or not as far: another machine made them, or this one died."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import RecordRefused
from deployer.journal.copies import HostCopy
from deployer.journal.run import UNDO, Run
from deployer.journal.store import RunStore

Histories = Mapping[str, Mapping[str, Any]]
"""By host, its answer to `history` (docs/architecture.md)."""


@dataclass(frozen=True)
class Told:
    """What hosts tell of runs. `records` has the newest record of each run, `lines` by run and host its journal,
    `damaged` by run and host why that is none."""

    records: dict[str, Run] = field(default_factory=dict)
    lines: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    damaged: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, histories: Histories) -> Told:
        """Read the hosts' answers; a record of another version is as good as none."""
        told = cls()
        for host, about in ((host, about) for host, answer in histories.items() for about in answer["runs"]):
            name = str(about["run"])
            if "damaged" in about:
                told.damaged.setdefault(name, {})[host] = str(about["damaged"])
            elif about["entries"]:
                told.lines.setdefault(name, {})[host] = [dict(line) for line in about["entries"]]
            record = _record(name, about.get("record"))
            if record is not None and _age(record) > _age(told.records.get(name)):
                told.records[name] = record
        return told


class Seen(RunStore):
    """A store as it would be, had it adopted what hosts tell: for who may not write, since he has no locks."""

    def __init__(self, store: RunStore, histories: Histories) -> None:
        super().__init__(store.root.parent)
        self._told = Told.of(histories)

    def _attempts(self) -> Iterator[tuple[str, Run | RecordRefused]]:
        found = dict(super()._attempts())
        here = {name: run for name, run in found.items() if isinstance(run, Run)}
        found.update({run.run: run for run in _better(here, self._told)})
        yield from sorted(found.items(), key=lambda one: one[0], reverse=True)


def newest(store: RunStore, told: Told) -> tuple[list[Run], list[RecordRefused]]:
    """Return every run, each by whoever knows more of it, newest first; and why records here cannot be read.

    Nothing is changed.
    """
    runs, refused = store.readable()
    here = {run.run: run for run in runs}
    here.update({run.run: run for run in _better(here, told)})
    return sorted(here.values(), key=lambda run: run.run, reverse=True), refused


def adopt(store: RunStore, histories: Histories) -> list[Run]:
    """Record here what hosts know better: their runs, as far as they are known there, and the hosts' journals.

    Needs the hosts' locks: a run that goes on is its own controller's to record.
    Return those runs, newest first. Contents of files are not among it (rollout/record.py fetches them).
    """
    told = Told.of(histories)
    here = {run.run: run for run in store.readable()[0]}
    adopted = sorted(_better(here, told), key=lambda run: run.run, reverse=True)
    for run in adopted:
        store.put(run)
    # Also of runs that are known: hosts go back by themselves, and this machine may have died before it took that in.
    for name in {*here, *(run.run for run in adopted)}:
        _take_in(store, told, name)
    return adopted


def follow(store: RunStore, histories: Histories, run: str) -> None:
    """Let the copies here of what hosts journaled of a run, and of its undo, be what they tell, as in `adopt`.

    A session that is lost leaves a hole in the copy: the host went on, and what it journaled then was told to nobody.
    """
    _take_in(store, Told.of(histories), run)


def lines_of(store: RunStore, told: Told, run: str, host: str) -> list[dict[str, Any]]:
    """Return what a host journaled of a run: what it tells, else the copy here; raises RecordRefused."""
    return told.lines.get(run, {}).get(host) or store.copy(run, host).lines()


def _better(here: Mapping[str, Run], told: Told) -> Iterable[Run]:
    return (run for name, run in told.records.items() if _age(run) > _age(here.get(name)))


def _take_in(store: RunStore, told: Told, run: str) -> None:
    for journal in (run, f"{run}{UNDO}"):
        for host, lines in told.lines.get(journal, {}).items():
            _follow(store.copy(journal, host), lines)


def _follow(copy: HostCopy, lines: list[dict[str, Any]]) -> None:
    """Let the copy be the host's journal, unless it has something that the host lost."""
    try:
        known = copy.lines()
    except RecordRefused:
        known = []
    # Each line has its time: no two are the same.
    lost = {line["sum"] for line in known} - {line["sum"] for line in lines}
    if known != lines and not lost:
        copy.replace(lines)


def _record(name: str, document: Any) -> Run | None:
    try:
        run = Run.of(document)
    except (ValueError, TypeError, AttributeError):
        return None
    return run if run.run == name else None


def _age(run: Run | None) -> tuple[int, bool]:
    """Return what is higher of a newer record; of two that are as new, one that tells how the run ended."""
    return (-1, False) if run is None else (run.revision, run.state != "running")


def hosts_of(store: RunStore, told: Told, run: str) -> Iterator[str]:
    """Yield every host that journaled something of a run, by its own word or the copies here, in no order."""
    names = {*told.lines.get(run, ()), *told.damaged.get(run, ())}
    yield from names | {path.name for path in (store.directory(run) / "hosts").glob("*") if path.is_dir()}

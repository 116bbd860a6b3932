"""Forgets old runs of this host: they hold services' passwords. What could still be undone stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from deployer.agent import files, history
from deployer.agent.deeds import deeds
from deployer.agent.errors import RefusedError
from deployer.agent.journal import Journal
from deployer.agent.types import Json

_PROJECT = "project:"
_LASTING = {"file.write", "file.remove", "nova.cells"}
"""The kinds of which a rollback has something to put back: of a restart it has nothing."""


@dataclass(frozen=True)
class _Group:
    """A run and its `RUN-undo`: they go together. `stands` are the scopes of projects that it left changed;
    `damaged`: nobody can tell."""

    run: str
    names: tuple[str, ...]
    began: datetime
    stands: frozenset[str]
    damaged: bool


def prune(state: Path, keep: str, limits: Mapping[str, float]) -> list[str]:
    """Remove runs beyond `limits["runs"]` in number or `limits["days"]` in age and return their names, oldest first.

    Kept in any case: the run `keep`, those that hold.json or pending.json name, of each project the newest that changed
    it and stands, and with these all that are newer and damaged. Raises RefusedError when one of the two documents is
    damaged.
    """
    found = sorted(_groups(state), key=lambda group: group.began, reverse=True)
    eldest = datetime.now(timezone.utc) - timedelta(days=limits["days"])
    needed = {_first(keep), *_named(state), *_still_to_undo(found)}
    gone = [
        group
        for place, group in enumerate(found)
        if (place >= limits["runs"] or group.began < eldest) and group.run not in needed
    ]
    return [name for group in reversed(gone) for name in _remove(state, group)]


def _groups(state: Path) -> Iterator[_Group]:
    by_run: dict[str, list[Json]] = {}
    for run in history.history(state, None):
        by_run.setdefault(_first(run["run"]), []).append(run)
    for first, runs in by_run.items():
        names = tuple(run["run"] for run in runs)
        damaged = any("damaged" in run for run in runs)
        yield _Group(first, names, min(_began(state, run) for run in runs), _stands(runs), damaged)


def _first(name: str) -> str:
    return name.removesuffix("-undo")


def _stands(runs: Sequence[Json]) -> frozenset[str]:
    known = [deed for run in runs for deed in deeds(run.get("entries", ())) if not deed.undone]
    return frozenset(deed.scope for deed in known if deed.scope.startswith(_PROJECT) and deed.kind in _LASTING)


def _began(state: Path, run: Json) -> datetime:
    try:
        return datetime.fromisoformat(run["when"].replace("Z", "+00:00")).astimezone(timezone.utc)
    except ValueError:  # run.json is lost: the directory is about as old
        return datetime.fromtimestamp(Journal(state, run["run"]).directory.stat().st_mtime, timezone.utc)


def _named(state: Path) -> Iterator[str]:
    for name, document in history.standing(state).items():
        if document and "damaged" in document:
            raise RefusedError(f"{document['damaged']}: no run is removed while {name} is not known")
        if document:
            yield _first(str(document.get("run", "")))


def _still_to_undo(newest_first: Sequence[_Group]) -> Iterator[str]:
    changed: set[str] = set()
    damaged: list[str] = []
    for group in newest_first:
        if group.damaged:
            damaged.append(group.run)
        elif not changed >= group.stands:
            yield from (*damaged, group.run)
            damaged.clear()
            changed.update(group.stands)
    if not changed:
        yield from damaged


def _remove(state: Path, group: _Group) -> tuple[str, ...]:
    for name in group.names:
        directory = Journal(state, name).directory
        with files.named(str(directory), "removed"):
            shutil.rmtree(directory)
            files.sync_directory(directory.parent)
    return group.names

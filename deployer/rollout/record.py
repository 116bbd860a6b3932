"""The record of a run on both sides: ended here and on the hosts, taken from them, put back where a disk was lost."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from deployer.errors import HostError, HostsFailed, HybridmsgError, Interrupted, Unreachable
from deployer.journal.adopt import Histories, adopt, follow
from deployer.journal.run import UNDO, Run, State
from deployer.journal.store import RunStore
from deployer.rollout.fleet import Fleet
from tasks.journal import read_blobs, read_history, restore_journal, write_record
from tasks.steps import lock_host

_WITH_CONTENTS = ("file.write", "file.remove", "nova.cells")
"""The kinds whose before-image is a content under its sha256 (deployer/agent/file_kinds.py, cells.py)."""


def end(fleet: Fleet, store: RunStore, run: Run, state: State, error: str | None = None) -> dict[str, HybridmsgError]:
    """End the run's record here and on every host of the run, and forget old runs on both sides.

    Return the errors of hosts that were not told; they know the run as of its last step there, and the newest record of
    all hosts counts. Once it is ended here nobody can interrupt any more: all is done then, and to do it again would be
    another run. Needs the hosts' locks.
    """
    store.end(run, state, error)
    try:
        errors = tell(fleet, run, prune=True)
    except (Interrupted, KeyboardInterrupt):
        errors = {name: HostError(name, "interrupted: it was not waited for") for name in _hosts(fleet, run)}
    with suppress(Interrupted, KeyboardInterrupt):
        copy_journals(fleet, store, run, (name for name in _hosts(fleet, run) if name not in errors))
    store.of(fleet.deployment).prune(fleet.deployment.journal)
    return errors


def tell(fleet: Fleet, run: Run, *, prune: bool = False) -> dict[str, HybridmsgError]:
    """Give every host of the run its record as it is; return the errors of those that did not take it.

    With `prune` they forget old runs.
    """
    hosts = _hosts(fleet, run)
    retention = fleet.deployment.journal
    sent: dict[str, Any] = {
        "run": run.run,
        "record": run.document(),
        "prune": {"runs": retention.runs, "days": retention.days} if prune else None,
    }
    errors = fleet.attempt(hosts, write_record, **sent)[1]
    # A session that was lost, and its lock with it, is opened anew.
    again = fleet.attempt([name for name, one in errors.items() if _may_answer(one)], lock_host, run=run.run)[0]
    taken = fleet.attempt(again, write_record, **sent)
    return {name: taken[1].get(name, one) for name, one in errors.items() if name not in taken[0]}


def ask_histories(
    fleet: Fleet, hosts: Iterable[str] | None = None, run: str | None = None
) -> tuple[Histories, dict[str, HybridmsgError]]:
    """Read what hosts (all by default) know of all runs, or of one; return also the errors of those that do not tell.

    One exchange each; needs no lock.
    """
    results, errors = fleet.attempt(fleet.deployment.hosts if hosts is None else hosts, read_history, run=run)
    told = {
        host: {"runs": result.runs, "hold": result.hold, "pending": result.pending}  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
        for host, result in results.items()
    }
    return told, errors


def adopt_runs(fleet: Fleet, store: RunStore, hosts: Iterable[str] | None = None) -> list[Run]:
    """Record here the runs that hosts know better, newest first: `adopt` with what those in reach tell.

    Needs their locks.
    """
    return adopt(store, ask_histories(fleet, hosts)[0])


def copy_journals(fleet: Fleet, store: RunStore, run: Run, hosts: Iterable[str]) -> None:
    """Copy what hosts journaled of a run and of its undo and a session that was lost did not tell, where they answer.

    Needs their locks: a host that is still at work tells its lines itself.
    """
    names = list(hosts)
    for journal in (run.run, f"{run.run}{UNDO}"):
        follow(store, ask_histories(fleet, names, journal)[0], run.run)


def fetch_contents(fleet: Fleet, store: RunStore, run: str, hosts: Iterable[str]) -> None:
    """Copy what hosts kept of the files that the run changed, as far as it is not here; raises HostsFailed."""
    wanted = {host: _missing(store, run, host) for host in hosts}
    wanted = {host: sha256s for host, sha256s in wanted.items() if sha256s}
    for host, result in fleet.run(wanted, read_blobs, run=run, sha256s=wanted).items():
        for content in result.blobs.values():  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
            store.copy(run, host).keep(content)


def restore_lost(fleet: Fleet, store: RunStore, run: Run, hosts: Iterable[str]) -> list[str]:
    """Put the journals of the run and of its undo back on those of the hosts that lost one or where one is damaged.

    Return their names. Needs their locks. Raises HostsFailed; RecordRefused when a copy is damaged too; HostError when
    a damaged one has no copy here.
    """
    names = list(hosts)
    restored = [host for name in (run.run, f"{run.run}{UNDO}") for host in _restore(fleet, store, run, name, names)]
    return list(dict.fromkeys(restored))


def _restore(fleet: Fleet, store: RunStore, run: Run, journal: str, hosts: list[str]) -> Iterator[str]:
    """Put one of the run's journals back where that is needed; yield where it was."""
    histories, errors = ask_histories(fleet, hosts, journal)
    if errors:
        raise HostsFailed(errors)
    for host, history in histories.items():
        problem = next((str(one["damaged"]) for one in history["runs"] if "damaged" in one), "")
        entries = [line for one in history["runs"] for line in one.get("entries", ())]
        copy = store.copy(journal, host)
        lines = copy.lines() if problem or not entries else []
        if problem and not lines:
            raise HostError(host, problem, f"There is no copy in {store.directory(journal)} either")
        if lines:
            blobs = {sha256: base64.b64encode(content).decode() for sha256, content in copy.blobs().items()}
            record = run.document() if journal == run.run else None
            sent = {host: {"record": record, "lines": lines, "blobs_b64": blobs}}
            fleet.run([host], restore_journal, run=journal, journals=sent, replace=bool(problem))
            yield host


def _hosts(fleet: Fleet, run: Run) -> list[str]:
    return [name for name in run.hosts or fleet.deployment.hosts if name in fleet.deployment.hosts]


def _missing(store: RunStore, run: str, host: str) -> list[str]:
    copy = store.copy(run, host)
    named = {sha256 for line in copy.lines() for sha256 in _contents(line) if sha256}
    return sorted(sha256 for sha256 in named if copy.blob(sha256) is None)


def _contents(line: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield what the host keeps a content of, by sha256: what was there, and what a file was to become."""
    if line["kind"] in _WITH_CONTENTS:
        yield line["before"].get("sha256")
    if line["kind"] == "file.write" and line["status"] == "doing":
        yield line["after"].get("sha256")


def _may_answer(error: HybridmsgError) -> bool:
    return not isinstance(error, Unreachable)

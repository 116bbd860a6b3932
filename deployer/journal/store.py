"""The controller's record of runs: STATE/runs/RUN/run.json and STATE/runs/RUN/hosts/HOST/{journal.jsonl,blobs}.

It holds service configuration, passwords included, and is open to its owner only.
"""

from __future__ import annotations

import copy
import getpass
import json
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import NothingToRollBack, RecordRefused, UnknownRun
from deployer.journal import durable
from deployer.journal.copies import HostCopy
from deployer.journal.prune import forgotten
from deployer.journal.run import SCHEMA, UNDO, Run, State
from deployer.model.deployment import Deployment, Retention

if TYPE_CHECKING:
    from typing_extensions import Self

LAST = "last"
RECORD = "run.json"
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_REMEDY = "Move the run's directory away: hosts that can be reached tell of the run"


def default_state_dir() -> Path:
    """Return where runs are recorded: the system's place for root, else the user's (XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib/hybridmsg-controller")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hybridmsg"


class RunStore:
    """The runs below one state directory: those of every cloud that is deployed from there, or (`of`) those of one."""

    def __init__(self, root: Path) -> None:
        self.root = root / "runs"
        self._addresses: dict[str, str] | None = None

    def of(self, deployment: Deployment) -> Self:
        """Return the same with this deployment's runs only: what it begins, tells, finds and forgets is its own."""
        own = copy.copy(self)
        own._addresses = {name: host.address for name, host in deployment.hosts.items()}  # noqa: SLF001 - it is one of us
        return own

    def own(self, runs: Iterable[Run]) -> list[Run]:
        """Return those of the runs that are this deployment's, in their order."""
        return [run for run in runs if self._addresses is None or run.is_of(self._addresses)]

    def begin(self, command: str, inventory: Path) -> Run:
        """Make a new record; the run's id sorts by time (UTC), after all that are known whatever the clock says."""
        now = max(datetime.now(timezone.utc), _began(self._newest()) + timedelta(microseconds=1))
        run_id = f"{now:{_STAMP}}-{secrets.token_hex(2)}"
        begun = Run(run_id, command, _who(), now.isoformat(timespec="seconds"), str(inventory.resolve()))
        begun.addresses = dict(self._addresses or {})
        return begun

    def begin_last(self, run: Run) -> Run:
        """Return the run, or the same begun anew where one that is not before it has become known: hosts told of it.

        Nothing of it may be recorded yet.
        """
        return run if run.run > self._newest() else self.begin(run.command, Path(run.inventory))

    def save(self, run: Run) -> None:
        """Write the record atomically, as its next revision."""
        run.revision += 1
        self.put(run)

    def put(self, run: Run) -> None:
        """Write the record atomically at the revision it has: what came from a host."""
        durable.write(self.directory(run.run) / RECORD, json.dumps(run.document(), indent=1).encode())

    def end(self, run: Run, state: State, error: str | None = None) -> None:
        """Close the record; a rollback ends a run that has ended before, and who did it is kept."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        run.state, run.error, run.ended = state, error, run.ended or now
        if state == "rolled back":
            run.back = {"who": _who(), "when": now}
        self.save(run)

    def copy(self, run: str, host: str) -> HostCopy:
        """Return the copy of what a host journaled of a run, by their names."""
        return HostCopy(self.directory(run) / "hosts" / host)

    @contextmanager
    def copying(self, run: str, hosts: Iterable[str]) -> Iterator[Callable[[str, Mapping[str, Any]], None]]:
        """Yield what takes in a host's name and a line that it journals of a run, while it does.

        All that was taken in is durable at the end, whatever happens.
        """
        copies = {host: self.copy(run, host) for host in hosts}
        try:
            yield lambda host, line: copies[host].append(line)
        finally:
            for copy in copies.values():
                copy.settle()

    def kept(self, run: Run, host: str, path: str) -> bytes | None:
        """Return a file's content as it was before the run, None when the run did not change it or it is not here."""
        before = run.files.get(host, {}).get(path, {})
        return self.copy(run.run, host).blob(str(before.get("sha256")))

    def runs(self) -> Iterator[Run]:
        """Yield every recorded run, newest first; raises RecordRefused at one that cannot be read."""
        for _, run in self._attempts():
            if isinstance(run, RecordRefused):
                raise run
            yield from self.own([run])

    def readable(self) -> tuple[list[Run], list[RecordRefused]]:
        """Return every run that can be read, newest first, whosever it is, and why the others cannot."""
        found = [run for _, run in self._attempts()]
        refused = [one for one in found if isinstance(one, RecordRefused)]
        return [one for one in found if isinstance(one, Run)], refused

    def find(self, name: str) -> Run:
        """Return a run by its name, by a beginning of it that no other has, or the `last`.

        Raises UnknownRun; RecordRefused.
        """
        records = dict(self._attempts())
        names = [one for one, run in records.items() if isinstance(run, RecordRefused) or self.own([run])]
        found = records[meant(name, names, str(self.root))]
        if isinstance(found, RecordRefused):
            raise found
        return found

    def changes(self, project: str) -> list[dict[str, dict[str, dict[str, list[str | None]]]]]:
        """Return a project's `options` of each run that left it changed, newest run first.

        A project that went back, in its run or in a rollback, is none of that run's projects any more.
        """
        return [run.options[project] for run in self.runs() if project in run.projects and project in run.options]

    def last_to_undo(self) -> Run:
        """Return the unfinished run, else the newest that changed something and stands; raises NothingToRollBack."""
        for run in sorted(self.runs(), key=lambda run: not run.unfinished):
            if run.can_be_undone:
                return run
        raise NothingToRollBack(f"nothing to roll back: {self.root} records no run that changed a service")

    def prune(self, retention: Retention) -> list[str]:
        """Forget the runs that nobody can need any more, with all that was kept of them; return their names."""
        gone = {run.run for run in forgotten(self.own(self.readable()[0]), retention, datetime.now(timezone.utc))}
        for name in gone:
            # First what makes it a run: cut off here, the next time removes the rest.
            (self.directory(name) / RECORD).unlink()
        for path in self.root.iterdir() if self.root.is_dir() else ():
            if not (self.directory(path.name.removesuffix(UNDO)) / RECORD).exists():
                shutil.rmtree(path)
        return sorted(gone)

    def directory(self, run: str) -> Path:
        """Return where a run is recorded, by its name."""
        return self.root / run

    def _newest(self) -> str:
        """Return the name of the newest record, whosever it is, readable or not; "" when there is none."""
        return max((path.parent.name for path in self.root.glob(f"*/{RECORD}")), default="")

    def _attempts(self) -> Iterator[tuple[str, Run | RecordRefused]]:
        """Yield every record by its run's name, newest first, or why it cannot be read."""
        for path in sorted(self.root.glob(f"*/{RECORD}"), reverse=True):
            yield path.parent.name, _attempt(path)


def _began(run: str) -> datetime:
    """Return when a run began by its name, the beginning of all time for one that `begin` did not make."""
    try:
        return datetime.strptime(run.rpartition("-")[0], _STAMP).replace(tzinfo=timezone.utc)
    except ValueError:
        return datetime.min.replace(tzinfo=timezone.utc)


def _who() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def meant(name: str, newest_first: Sequence[str], where: str) -> str:
    """Return the run that is meant by its name, by a beginning of it that no other has, or by `last`.

    Raises UnknownRun, which says `where` they were looked for.
    """
    found = [one for one in newest_first if one == name] or [one for one in newest_first if one.startswith(name)]
    if name == LAST:
        found = list(newest_first[:1])
    if len(found) != 1:
        raise UnknownRun(name, found, where)
    return found[0]


def _attempt(path: Path) -> Run | RecordRefused:
    try:
        return _read(path)
    except RecordRefused as error:
        return error


def _read(path: Path) -> Run:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:  # its own words may quote what is there
        document = None
    if not isinstance(document, dict):
        raise RecordRefused(str(path), "is damaged: no JSON object", _REMEDY)
    if document.get("schema") != SCHEMA:
        problem = f"is of another version of hybridmsg: its schema is {document.get('schema')!r}, here it is {SCHEMA}"
        raise RecordRefused(str(path), problem, "Use that version, or move the run's directory away")
    try:
        run = Run.of(document)
    except ValueError as error:
        raise RecordRefused(str(path), f"is damaged: {error}", _REMEDY) from None
    if run.run != path.parent.name:
        raise RecordRefused(str(path), f"is damaged: it is the record of another run, {run.run}", _REMEDY)
    return run

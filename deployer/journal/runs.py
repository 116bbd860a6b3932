"""The controller's record of runs: what a run found, wanted and did, and a copy of every before-image.

The host journals before it acts, and the same bytes are kept here, so that either disk may be lost (they are put back
by hand then). The directory holds service configuration, passwords included, and is open to its owner only.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from deployer.errors import NothingToRollBack
from deployer.plan.observed import FileFact

SCHEMA = 1
State = Literal["running", "done", "failed", "interrupted", "split", "rolled back"]


def default_state_dir() -> Path:
    """Return where runs are recorded: the system's place for root, else the user's (XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib/hybridmsg-controller")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hybridmsg"


@dataclass
class Run:
    """One recorded run. `files` maps host and path to the file's identity before it; `units` host and unit to its
    active and enabled state before; `baseline` lists the servers expected and whether each answered before;
    `projects` names those that the run changed and that it left changed; `options` maps project, host, path and
    SECTION/KEY to what each option was set from and to, as the sha256 of its values (None: not set)."""

    run: str
    command: str
    who: str
    when: str
    inventory: str
    state: State = "running"
    hosts: list[str] = field(default_factory=list)
    files: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    units: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    baseline: list[dict[str, Any]] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)
    options: dict[str, dict[str, dict[str, dict[str, list[str | None]]]]] = field(default_factory=dict)
    error: str | None = None
    ended: str | None = None
    schema: int = SCHEMA

    @property
    def unfinished(self) -> bool:
        """Whether a project may stand between old and new: the run was cut off, or could not put it back."""
        return self.state in ("running", "split")

    @property
    def can_be_undone(self) -> bool:
        """Whether a project stands changed by the run, or may."""
        return self.unfinished or (bool(self.projects) and self.state != "rolled back")


class RunStore:
    """The runs below one state directory."""

    def __init__(self, root: Path) -> None:
        self.root = root / "runs"

    def begin(self, command: str, inventory: Path) -> Run:
        """Make a new record; the run's id sorts by time (UTC)."""
        now = datetime.now(timezone.utc)
        run_id = f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(2)}"
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        return Run(run_id, command, who, now.isoformat(timespec="seconds"), str(inventory.resolve()))

    def save(self, run: Run) -> None:
        """Write the record atomically."""
        _write(self._directory(run) / "run.json", json.dumps(run.__dict__, indent=1).encode())

    def end(self, run: Run, state: State, error: str | None = None) -> None:
        """Close the record."""
        run.state, run.error = state, error
        run.ended = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.save(run)

    def keep(self, run: Run, host: str, fact: FileFact) -> None:
        """Keep a copy of a file's content as it was before the run changes it."""
        if fact.content is not None:
            self.keep_content(run, host, fact.content.reveal())

    def keep_content(self, run: Run, host: str, content: bytes) -> None:
        """Keep a before-image under its sha256, as the host's own journal does."""
        _write(self._directory(run) / "hosts" / host / "blobs" / hashlib.sha256(content).hexdigest(), content)

    def kept(self, run: Run, host: str, path: str) -> bytes | None:
        """Return a file's content as it was before the run, None when the run did not change it."""
        before = run.files.get(host, {}).get(path, {})
        copy = self._directory(run) / "hosts" / host / "blobs" / str(before.get("sha256"))
        return copy.read_bytes() if copy.exists() else None

    def runs(self) -> Iterator[Run]:
        """Yield every recorded run, newest first."""
        for path in sorted(self.root.glob("*/run.json"), reverse=True):
            yield Run(**json.loads(path.read_text(encoding="utf-8")))

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

    def _directory(self, run: Run) -> Path:
        return self.root / run.run


def _write(path: Path, content: bytes) -> None:
    for directory in reversed([path.parent, *path.parent.parents]):
        directory.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    # The host is told to change next: by then the copy must outlive a power cut, its name included.
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What runs do to this host, durable before they do it: `STATE/runs/RUN/{run.json,journal.jsonl,blobs}`.

A torn last line (a crash while writing) was never acted upon and is cut off; any other damage is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from deployer.agent import files, journal_lines
from deployer.agent.errors import RefusedError
from deployer.agent.journal_lines import DamagedLineError
from deployer.agent.types import Json

DEFAULT_STATE = "/var/lib/hybridmsg"
REMEDY = "The controller has a copy: `hybridmsg rollback` sends it"
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")

Tell = Callable[[Json], None]
"""Takes one event for the controller; never fails."""


def state_directory() -> Path:
    """Return the host's state directory; HYBRIDMSG_STATE in the environment says otherwise."""
    return Path(os.environ.get("HYBRIDMSG_STATE") or DEFAULT_STATE)


def can_name_a_run(name: str) -> bool:
    """Whether a name is a plain file name, as every run's is."""
    return bool(_RUN.fullmatch(name))


class Journal:
    """One run's journal on this host; `tell` gets every line that is written, as event `{"journal": line}`.

    Raises RefusedError for a run's name that is no plain file name.
    """

    def __init__(self, state: Path, run: str, tell: Tell = lambda _event: None) -> None:
        if not can_name_a_run(run):
            raise RefusedError(f"{run!r} cannot be a run's name", "Use letters, digits and . _ : + -")
        self.run = run
        self.directory = state / "runs" / run
        self.tell = tell
        self._about = self.directory / "run.json"
        self._lines = self.directory / "journal.jsonl"
        self._blobs = self.directory / "blobs"

    def exists(self) -> bool:
        """Whether this host has a record of the run."""
        return self.directory.is_dir()

    def begin(self, who: str, when: str, record: Json | None = None) -> None:
        """Make the run's directory and say who started it; a run that exists already goes on.

        `record` is the controller's own of the run, kept beside the journal: the newest one counts.
        """
        files.make_directory(self._blobs, 0o700)
        if record is not None:
            who, when = str(record.get("who", who)), str(record.get("when", when))
        if record is not None or not self._about.exists():
            about = {"run": self.run, "who": who, "when": when, "record": record}
            self._keep(self._about, json.dumps(about).encode())
        if not self._lines.exists():
            self._keep(self._lines, b"")
        self._cut_torn_line()

    def keep(self, content: bytes) -> str:
        """Keep a content durably, before it is replaced or written; return its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not (self._blobs / sha256).exists():
            self._keep(self._blobs / sha256, content)
        return sha256

    def blob(self, sha256: str) -> bytes:
        """Return a kept content; raises RefusedError when it is gone or not what was kept."""
        path = self._blobs / Path(sha256).name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RefusedError(f"{path} cannot be read: {error.strerror}", REMEDY) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RefusedError(f"{path} is damaged: its content does not match its name", REMEDY)
        return content

    def append(self, line: Json) -> None:
        """Write one line durably, with its time (UTC) and its checksum, and tell it."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        written = journal_lines.sealed({**line, "at": at})
        self.write(written)
        self.tell({"journal": written})

    def write(self, line: Json) -> None:
        """Put one sealed line at the journal's end, durably or not at all."""
        with files.named(str(self._lines), "written"):
            _append(self._lines, journal_lines.text(line))

    def entries(self) -> list[Json]:
        """Return every line as it was written, oldest first; raises RefusedError when one is damaged."""
        try:
            return journal_lines.read(self._lines.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RefusedError(f"{self._lines} cannot be read: {error.strerror}", REMEDY) from error
        except DamagedLineError as error:
            raise RefusedError(f"{self._lines} is damaged: {error}", REMEDY) from error

    def about(self) -> Json:
        """Return `{"run", "who", "when", "record"}` of run.json."""
        try:
            about = dict(json.loads(self._about.read_bytes()))
        except (OSError, ValueError, TypeError):  # the journal does without: its loss must not stop an undo
            about = {}
        who, when, record = about.get("who", ""), about.get("when", ""), about.get("record")
        return {"run": self.run, "who": who, "when": when, "record": record}

    def replace(self, lines: list[Json]) -> None:
        """Put sealed lines in the place of all that is there, in one."""
        self._keep(self._lines, b"".join(map(journal_lines.text, lines)))

    def check_blobs(self) -> None:
        """Raise RefusedError when a kept content is damaged, or a before-image gone."""
        named = {str(entry["before"]["sha256"]) for entry in self.entries() if entry["before"].get("sha256")}
        for sha256 in sorted(named.union(self._blob_names())):
            self.blob(sha256)

    def drop_damaged_blobs(self) -> None:
        """Remove every kept content that does not match its name: it is of no use to anybody."""
        for sha256 in self._blob_names():
            path = self._blobs / sha256
            if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                files.remove(str(path))

    def _blob_names(self) -> list[str]:
        # What a killed run left half written begins with a dot.
        return [path.name for path in self._blobs.glob("[!.]*")]

    def _cut_torn_line(self) -> None:
        content = self._lines.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(self._lines, content.rfind(b"\n") + 1)

    def _keep(self, path: Path, content: bytes) -> None:
        files.replace(str(path), files.Wanted(content, 0o600, os.geteuid(), os.getegid()))


def _append(path: Path, data: bytes) -> None:
    """Append durably or not at all: a part of a line, left by a full disk, would damage the next one."""
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        try:
            _write_whole(file.fileno(), data)
        except OSError:
            file.truncate(size)
            raise


def _write_whole(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    files.sync(descriptor)

"""What runs do to this host, durable before they do it: `STATE/runs/RUN/{run.json,journal.jsonl,blobs}`.

A torn last line (a crash while writing) was never acted upon and is cut off; any other damage is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

from deployer.agent import files
from deployer.agent.errors import RefusedError
from deployer.agent.types import Json

DEFAULT_STATE = "/var/lib/hybridmsg"
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")


def state_directory() -> Path:
    """Return the host's state directory; HYBRIDMSG_STATE in the environment says otherwise."""
    return Path(os.environ.get("HYBRIDMSG_STATE") or DEFAULT_STATE)


class Journal:
    """One run's journal on this host. Raises RefusedError for a run's name that is no plain file name."""

    def __init__(self, state: Path, run: str) -> None:
        if not _RUN.fullmatch(run):
            raise RefusedError(f"{run!r} cannot be a run's name", "Use letters, digits and . _ : + -")
        self.run = run
        self._directory = state / "runs" / run
        self._lines = self._directory / "journal.jsonl"
        self._blobs = self._directory / "blobs"

    def begin(self, who: str, when: str) -> None:
        """Make the run's directory and say who started it; a run that exists already goes on."""
        files.make_directory(self._blobs, 0o700)
        about = self._directory / "run.json"
        if not about.exists():
            self._keep(about, json.dumps({"run": self.run, "who": who, "when": when}).encode())
        if not self._lines.exists():
            self._keep(self._lines, b"")
        self._cut_torn_line()

    def keep(self, content: bytes) -> str:
        """Keep a before-image durably; return its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not (self._blobs / sha256).exists():
            self._keep(self._blobs / sha256, content)
        return sha256

    def blob(self, sha256: str) -> bytes:
        """Return a kept before-image; raises RefusedError when it is gone or not what was kept."""
        try:
            content = (self._blobs / sha256).read_bytes()
        except OSError as error:
            raise RefusedError(f"before-image {sha256} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RefusedError(f"{self._blobs / sha256} is damaged", "Use the controller's record")
        return content

    def append(self, line: Json) -> None:
        """Write one line durably, with its time (UTC) and its checksum."""
        stamped = {**line, "at": datetime.now(timezone.utc).isoformat(timespec="milliseconds")}
        text = json.dumps({**stamped, "sum": _checksum(stamped)}) + "\n"
        with files.named(str(self._lines), "written"):
            _append(self._lines, text.encode())

    def entries(self) -> list[Json]:
        """Return every line, oldest first; raises RefusedError when one is damaged."""
        try:
            content = self._lines.read_bytes()
        except FileNotFoundError:
            return []
        whole, _, _ = content.rpartition(b"\n")
        return [self._entry(line) for line in whole.splitlines()]

    def about(self) -> Json:
        """Return the run as `history` tells it: `{"run", "who", "when", "entries"}`."""
        try:
            about = json.loads((self._directory / "run.json").read_bytes())
        except (OSError, ValueError):  # who and when are for people: their loss must not stop an undo
            about = {}
        return {
            "run": self.run,
            "who": about.get("who", ""),
            "when": about.get("when", ""),
            "entries": self.entries(),
        }

    def _entry(self, line: bytes) -> Json:
        try:
            entry: Json = json.loads(line)
            right = entry.pop("sum") == _checksum(entry)
        except (ValueError, KeyError, AttributeError):
            right = False
        if not right:
            raise RefusedError(f"{self._lines} is damaged", "Use the controller's record")
        return entry

    def _cut_torn_line(self) -> None:
        content = self._lines.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(self._lines, content.rfind(b"\n") + 1)

    def _keep(self, path: Path, content: bytes) -> None:
        files.replace(str(path), files.Wanted(content, 0o600, os.geteuid(), os.getegid()))


def history(state: Path, run: str | None) -> list[Json]:
    """Return the runs known to this host, oldest first, or only `run`; changes nothing."""
    if run is not None:
        journal = Journal(state, run)
        return [journal.about()] if (state / "runs" / run).is_dir() else []
    try:
        names = sorted(path.name for path in (state / "runs").iterdir() if _RUN.fullmatch(path.name))
    except FileNotFoundError:
        return []
    return sorted((Journal(state, name).about() for name in names), key=lambda about: str(about["when"]))


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
    os.fsync(descriptor)


def _checksum(entry: Json) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:16]

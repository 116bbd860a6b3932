"""The controller's copy of what one host journals of one run: each line, and the content of each file it may put back.

The same bytes are on the host, so that either disk may be lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deployer.errors import RecordRefused
from deployer.journal import durable
from deployer.journal.run import checksum

_REMEDY = "It is a copy: move it away, and what the host itself has is used"


class HostCopy:
    """One host's part of one run's record: `journal.jsonl` and `blobs/SHA256` below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._journal = directory / "journal.jsonl"
        self._blobs = directory / "blobs"

    def keep(self, content: bytes) -> str:
        """Keep a content under its sha256, which is returned, as the host's own journal does."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not (self._blobs / sha256).exists():
            durable.write(self._blobs / sha256, content)
        return sha256

    def blob(self, sha256: str) -> bytes | None:
        """Return a content by its sha256, None when it is not here; raises RecordRefused when it is damaged."""
        path = self._blobs / sha256
        if not path.exists():
            return None
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RecordRefused(str(path), "is damaged: its content does not match its name", _REMEDY)
        return content

    def blobs(self) -> dict[str, bytes]:
        """Return every content that is here, by sha256; raises RecordRefused when one is damaged."""
        found = {name: self.blob(name) for name in sorted(path.name for path in self._blobs.glob("[0-9a-f]*"))}
        return {name: content for name, content in found.items() if content is not None}

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line as the host journaled it, at the end; `settle` makes it durable."""
        durable.append(self._journal, _text(line))

    def settle(self) -> None:
        """Make durable what was appended."""
        if self._journal.exists():
            durable.sync(self._journal)
            durable.sync(self._journal.parent)

    def replace(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Let the journal be these lines."""
        durable.write(self._journal, b"".join(map(_text, lines)))

    def lines(self) -> list[dict[str, Any]]:
        """Return the host's lines, oldest first, `sum` included; a torn last one was never told and is left out.

        Raises RecordRefused when one is damaged.
        """
        if not self._journal.exists():
            return []
        whole, _, _ = self._journal.read_bytes().rpartition(b"\n")
        return [self._line(number, text) for number, text in enumerate(whole.splitlines(), 1)]

    def _line(self, number: int, text: bytes) -> dict[str, Any]:
        try:
            line = json.loads(text)
            content = {key: value for key, value in line.items() if key != "sum"}
            right = line["sum"] == checksum(content)
        except (ValueError, KeyError, AttributeError, TypeError):
            right = False
        if not right:
            raise RecordRefused(f"{self._journal}:{number}", "is damaged: it does not match its checksum", _REMEDY)
        return dict(line)


def _text(line: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(line)).encode() + b"\n"

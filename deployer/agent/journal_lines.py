"""One line of a run's journal: its checksum, and what may stand in it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from deployer.agent.types import Json

DOING, DONE, FAILED = "doing", "done", "failed"
UNDOING, UNDONE, UNDO_FAILED = "undoing", "undone", "undo failed"
STATUSES = frozenset({DOING, DONE, FAILED, UNDOING, UNDONE, UNDO_FAILED})
_NAMES = frozenset({"step", "scope", "kind", "target"})


class DamagedLineError(ValueError):
    """A line is not as it was written; the text says which and what is wrong."""


def sealed(entry: Json) -> Json:
    """Return the entry with its checksum, as it is written."""
    return {**entry, "sum": _checksum(entry)}


def text(line: Json) -> bytes:
    """Return a sealed line as bytes, its end included."""
    return (json.dumps(line) + "\n").encode()


def read(content: bytes) -> list[Json]:
    """Return the lines of a journal, oldest first; a torn last one is left out. Raises DamagedLineError."""
    whole = content[: content.rfind(b"\n") + 1]
    return list(_checked([_parsed(number, raw) for number, raw in enumerate(whole.splitlines(), 1)]))


def check(lines: list[Json]) -> None:
    """Raise DamagedLineError unless each line is as an agent sealed it, and they are a journal together."""
    for _ in _checked(lines):
        pass


def _parsed(number: int, raw: bytes) -> Json:
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise DamagedLineError(f"line {number} is no JSON") from error
    if not isinstance(line, dict):
        raise DamagedLineError(f"line {number} is no JSON object")
    return line


def _checked(lines: list[Json]) -> Iterator[Json]:
    begun: set[str] = set()
    for number, line in enumerate(lines, 1):
        entry = {key: value for key, value in line.items() if key != "sum"}
        if line.get("sum") != _checksum(entry):
            raise DamagedLineError(f"line {number} does not match its checksum")
        if line.get("status") not in STATUSES:
            raise DamagedLineError(f"line {number} has the status {line.get('status')!r}, which is none")
        if not line.keys() >= _NAMES or not all(isinstance(line.get(key), dict) for key in ("before", "after")):
            raise DamagedLineError(f"line {number} lacks a part")
        if line["status"] == DOING:
            begun.add(line["step"])
        elif line["step"] not in begun:
            raise DamagedLineError(f"line {number} ends step {line['step']}, which no line begins")
        yield line


def _checksum(entry: Json) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:16]

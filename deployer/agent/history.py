"""The runs that this host knows: told, copied, restored and pruned."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from deployer.agent import journal_lines, state_files
from deployer.agent.errors import RefusedError
from deployer.agent.journal import Journal, can_name_a_run
from deployer.agent.journal_lines import DamagedLineError
from deployer.agent.types import Json


def answer(state: Path, run: str | None) -> Json:
    """Return the answer to `history`: all runs, oldest first, or only `run`, and what holds or awaits the host."""
    return {"runs": history(state, run), **standing(state)}


def standing(state: Path) -> Json:
    """Return `{"hold", "pending"}`: each document's content, or None."""
    return {
        "hold": state_files.told(state / state_files.HOLD),
        "pending": state_files.told(state / state_files.PENDING),
    }


def history(state: Path, run: str | None) -> list[Json]:
    """Return the runs known to this host, oldest first, or only `run`; changes nothing. See `told`."""
    known = [run] if run is not None and Journal(state, run).exists() else []
    runs = names(state) if run is None else known
    return sorted((told(Journal(state, name)) for name in runs), key=lambda about: str(about["when"]))


def names(state: Path) -> list[str]:
    """Return the names of all runs known to this host."""
    try:
        return sorted(path.name for path in (state / "runs").iterdir() if can_name_a_run(path.name))
    except FileNotFoundError:
        return []


def told(journal: Journal) -> Json:
    """Return a run as `history` tells it: `{"run", "who", "when", "record", "entries"}`.

    `damaged` says what is wrong with its journal (in the place of the entries) or its before-images.
    """
    about = journal.about()
    try:
        about["entries"] = journal.entries()
        journal.check_blobs()
    except RefusedError as error:
        about["damaged"] = error.problem
    return about


def blobs(journal: Journal, sha256s: Sequence[str]) -> Json:
    """Return the answer to `blobs`; raises RefusedError for one that is gone or damaged."""
    return {"blobs_b64": {one: base64.b64encode(journal.blob(one)).decode() for one in sha256s}}


def restore(journal: Journal, args: Json, who: str, when: str) -> None:
    """Put a run's journal back from a copy: lines as they were written, and before-images.

    Does nothing where a sound journal has all the lines. Raises RefusedError, having changed nothing, when the copy is
    damaged, when a sound journal has others, or a damaged one stands without `replace`.
    """
    lines, contents = _lines(args["lines"]), _contents(args["blobs_b64"])
    now = told(journal) if journal.exists() else {"entries": []}
    if "damaged" in now and not args["replace"]:
        raise RefusedError(f"{now['damaged']}; it is not replaced unasked")
    if "damaged" not in now and now["entries"]:
        if all(line in now["entries"] for line in lines):
            return  # twice is once
        raise RefusedError(f"this host's own journal of run {journal.run} is sound")
    journal.begin(who, when, args["record"])
    journal.drop_damaged_blobs()
    for content in contents:
        journal.keep(content)
    # Where only a before-image is damaged its own lines are the newer ones.
    if not now.get("entries"):
        journal.replace(lines)


def _lines(lines: list[Json]) -> list[Json]:
    try:
        journal_lines.check(lines)
    except DamagedLineError as error:
        raise RefusedError(f"the copy of the journal is damaged: {error}") from error
    return lines


def _contents(encoded: dict[str, str]) -> list[bytes]:
    contents = {sha256: base64.b64decode(content) for sha256, content in encoded.items()}
    for sha256, content in contents.items():
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RefusedError(f"the copy of before-image {sha256} is damaged")
    return list(contents.values())

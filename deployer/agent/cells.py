"""nova's cell mappings: rows of its API database that hold transport URLs, read and moved by nova's own interpreter."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from deployer.agent.deeds import Check, Deed, Undo
from deployer.agent.errors import RefusedError, StaleError, StepError
from deployer.agent.journal import Journal
from deployer.agent.probe import probe
from deployer.agent.types import Json, Prepare, Prepared, Question, Step, StepOutcome

PROGRAM = "nova_cells.py"
TIMEOUT = 60.0  # seconds; nova's libraries take one or two to import
CELL0 = "00000000-0000-0000-0000-000000000000"  # nova/objects/cell_mapping.py; it has no bus: none:///
TARGET = "nova's cell mappings"
_PLACE = ("interpreter", "user", "config_files", "config_dirs")
_REMEDY = "Can nova's own services on this host reach its API database?"

Urls = Mapping[str, str]
"""A cell's uuid to its transport URL as the database has it."""


def cells(args: Json) -> Json:
    """Return `{"cells": [{"uuid", "name", "transport_url_b64"}]}` as they stand in the database, templates not filled.

    Raises RefusedError when they cannot be read.
    """
    answer = _ask(args, {})
    if answer["error"]:
        raise RefusedError(f"{TARGET} cannot be read: {answer['error']}", _REMEDY)
    return {"cells": answer["cells"]}


def _prepare(step: Step) -> Prepared:
    wanted: Urls = json.loads(base64.b64decode(step.args["mappings_b64"]))
    place, now = {key: step.args[key] for key in _PLACE}, _urls(step.args)
    wrong = [uuid for uuid in wanted if uuid == CELL0 or uuid not in now]
    if wrong:
        raise RefusedError(f"nova has no cell {', '.join(wrong)} with a bus", "Make a new plan")
    before = {uuid: now[uuid] for uuid in wanted}
    after = {"sha256": _sha256(wanted)}
    # No URL, but all that an undo needs to find the rows again.
    record = {**place, "cells": sorted(before), "sha256": _sha256(before)}

    def act() -> StepOutcome:
        return StepOutcome(changed=_move(place, before, wanted), after=after)

    return Prepared(TARGET, act, record, after, _image(before))


def _check(deed: Deed) -> None:
    _check_left(deed, _of(deed, _urls(deed.before)))


def _check_left(deed: Deed, urls: Urls) -> None:
    if _sha256(urls) not in {*deed.left, deed.before["sha256"]}:
        raise StaleError(f"{TARGET} were changed after the run", "Compare them, then force", step=deed.step)


def _restore(deed: Deed, journal: Journal, force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    now = _of(deed, _urls(deed.before))
    if not force:
        _check_left(deed, now)
    if _sha256(now) not in deed.left:
        journal.keep(_image(now))  # by force over somebody's own work: that is not lost either
    before: Urls = json.loads(journal.blob(deed.before["sha256"]))
    changed = _move(deed.before, now, {uuid: before[uuid] for uuid in now})
    return StepOutcome(changed=changed, after={"sha256": _sha256(before)})


def _of(deed: Deed, urls: Urls) -> Urls:
    return {uuid: urls[uuid] for uuid in deed.before["cells"] if uuid in urls}


def _urls(place: Json) -> Urls:
    return {cell["uuid"]: base64.b64decode(cell["transport_url_b64"]).decode() for cell in cells(place)["cells"]}


def _move(place: Json, old: Urls, new: Urls) -> bool:
    """Write what differs, all or nothing, and return whether anything did; StaleError when `old` is not there now."""
    moves = {uuid: {"old": old[uuid], "new": url} for uuid, url in new.items() if url != old[uuid]}
    if not moves:
        return False
    answer = _ask(place, moves)
    if answer["error"]:
        raise StepError(f"{TARGET} cannot be written: {answer['error']}", _REMEDY)
    if answer["stale"]:
        raise StaleError(f"{TARGET} are being changed by somebody else: {', '.join(answer['stale'])}", "Run again")
    return True


def _ask(place: Json, moves: Json) -> Json:
    request = {"config_files": place["config_files"], "config_dirs": place["config_dirs"], "moves": moves}
    return probe(place["interpreter"], place["user"], request, TIMEOUT, PROGRAM)


def _image(urls: Urls) -> bytes:
    return json.dumps(urls, sort_keys=True).encode()


def _sha256(urls: Urls) -> str:
    return hashlib.sha256(_image(urls)).hexdigest()


OPS: dict[str, Question] = {"cells": cells}
KINDS: dict[str, Prepare] = {"nova.cells": _prepare}
UNDO: dict[str, Undo] = {"nova.cells": _restore}
CHECKS: dict[str, Check] = {"nova.cells": _check}

"""Takes a run's steps back, newest first: each to what the journal says it was before."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence

from deployer.agent import faults, kinds
from deployer.agent.deeds import Deed, Merged, deeds
from deployer.agent.errors import RefusedError
from deployer.agent.journal import Journal
from deployer.agent.journal_lines import UNDO_FAILED, UNDOING, UNDONE
from deployer.agent.steps import Emit, Job, carry_out, groups, stop_when_gone, told
from deployer.agent.types import Json, StepOutcome


def undo(
    journal: Journal,
    steps: Sequence[str] | None,
    emit: Emit,
    gone: threading.Event,
    *,
    force: bool,
    merged: Mapping[str, Merged] | None = None,
) -> list[Json]:
    """Undo those of the run's `steps` (None: all) that are not undone yet; return their results.

    `merged`, by step, goes in the place of before-images. Raises StaleError before anything is changed when a file, or
    a cell mapping, is not what the run left, unless `force`, or not what `merged` was made for; RefusedError for a step
    that the run does not have.
    """
    known = deeds(journal.entries())
    unknown = {*(steps or ()), *(merged or ())} - {deed.step for deed in known}
    if unknown:
        raise RefusedError(f"run {journal.run} has no step {', '.join(sorted(unknown))} on this host")
    todo = [deed for deed in known if not deed.undone and (steps is None or deed.step in steps)]
    arranged = _arranged(known, todo)
    _merge(arranged, merged or {})
    _check([deed for deed in arranged if not force or deed.merged])
    results = []
    for group in groups(arranged):
        stop_when_gone(gone, group[0].step)
        results += carry_out([_begin(deed, journal, emit, force=force) for deed in group], emit)
    return results


def parse_merged(raw: Json) -> dict[str, Merged]:
    """Return what a controller sent as `merged`."""
    contents = {step: one["content_b64"] for step, one in raw.items()}
    return {
        step: Merged(None if content is None else base64.b64decode(content), raw[step]["sha256"])
        for step, content in contents.items()
    }


def _merge(chosen: Sequence[Deed], merged: Mapping[str, Merged]) -> None:
    """Give deeds their merged contents; a file that gets one is not put back by another deed."""
    for deed in chosen:
        deed.merged = merged.get(deed.step)
    targets = {deed.target for deed in chosen if deed.merged}
    for deed in chosen:
        deed.superseded = deed.superseded or (deed.target in targets and not deed.merged)


def _arranged(known: Sequence[Deed], todo: Sequence[Deed]) -> list[Deed]:
    """Newest first, but the restarts last: a unit is restarted to read its files, which must be back by then.

    One restart serves for all of a unit's, and only if it ran before the oldest deed that is taken back.
    """
    newest_first = todo[::-1]
    restarts = [deed for deed in newest_first if deed.kind == "unit.restart"]
    final = {deed.target: deed for deed in restarts}
    for deed in restarts:
        taken_back = (other for other in known if other.undone or other in todo)
        deed.before = next(other.before for other in taken_back if other.target == deed.target)
        deed.superseded = deed is not final[deed.target]
    return [*(deed for deed in newest_first if deed.kind != "unit.restart"), *restarts]


def _check(chosen: Sequence[Deed]) -> None:
    seen: set[str] = set()
    for deed in chosen:
        if deed.kind in kinds.CHECKS and not deed.superseded and deed.target not in seen:
            seen.add(deed.target)
            kinds.CHECKS[deed.kind](deed)


_WORDS = {
    "unit.stop": "start {} again",
    "unit.start": "stop {}",
    "file.write": "put {} back",
    "commit.begin": "wait for no word on {} any more",
    "commit.confirm": "forget that {} was confirmed",
}


def _reason(deed: Deed) -> str:
    words = _WORDS.get(deed.kind, f"undo {deed.kind} of {{}}")
    return words.format(deed.target.removesuffix(".service"))


def _begin(deed: Deed, journal: Journal, emit: Emit, *, force: bool) -> Job:
    take_back, reason = kinds.UNDO.get(deed.kind, _kept), _reason(deed)
    line: Json = {"step": deed.step, "scope": deed.scope, "kind": deed.kind, "target": deed.target}
    line |= {"before": deed.before, "after": deed.after}
    job = Job(reason, lambda: take_back(deed, journal, force), journal, line, (UNDOING, UNDONE, UNDO_FAILED))
    emit({"step": deed.step, "status": "doing", "reason": reason})
    faults.begin(deed.step)
    with told(deed.step, emit):
        job.begin()
    return job


def _kept(deed: Deed, _journal: Journal, _force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    return StepOutcome(changed=False, output=f"{deed.kind} is kept")

"""Takes a run's steps back, newest first: each to what the journal says it was before."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from deployer.agent import kinds
from deployer.agent.deeds import Deed, deeds
from deployer.agent.errors import RefusedError
from deployer.agent.journal import Journal
from deployer.agent.steps import Emit, Job, carry_out, groups, stop_when_gone
from deployer.agent.types import Json, StepOutcome


def undo(
    journal: Journal, steps: Sequence[str] | None, emit: Emit, gone: threading.Event, *, force: bool
) -> list[Json]:
    """Undo those of the run's `steps` (None: all) that are not undone yet; return their results.

    Raises StaleError before anything is changed when a file, or a cell mapping, is not what the run left, unless
    `force`.
    """
    known = deeds(journal.entries())
    unknown = set(steps or ()) - {deed.step for deed in known}
    if unknown:
        raise RefusedError(f"run {journal.run} has no step {', '.join(sorted(unknown))} on this host")
    todo = [deed for deed in known if not deed.undone and (steps is None or deed.step in steps)]
    arranged = _arranged(known, todo)
    if not force:
        _check(arranged)
    results = []
    for group in groups(arranged):
        stop_when_gone(gone, group[0].step)
        for deed in group:
            emit({"step": deed.step, "status": "doing", "reason": _reason(deed)})
        results += carry_out([_job(deed, journal, force=force) for deed in group], emit)
    return results


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
        if deed.kind in kinds.CHECKS and deed.target not in seen:
            seen.add(deed.target)
            kinds.CHECKS[deed.kind](deed)


_WORDS = {"unit.stop": "start {} again", "unit.start": "stop {}", "file.write": "put {} back"}


def _reason(deed: Deed) -> str:
    words = _WORDS.get(deed.kind, f"undo {deed.kind} of {{}}")
    return words.format(deed.target.removesuffix(".service"))


def _job(deed: Deed, journal: Journal, *, force: bool) -> Job:
    def done(outcome: StepOutcome) -> None:
        journal.append(
            {
                "step": deed.step,
                "scope": deed.scope,
                "kind": deed.kind,
                "status": "undone",
                "target": deed.target,
                "before": deed.before,
                "after": outcome.after,
            }
        )

    take_back = kinds.UNDO.get(deed.kind, _kept)
    return Job(deed.step, _reason(deed), lambda: take_back(deed, journal, force), done)


def _kept(deed: Deed, _journal: Journal, _force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    return StepOutcome(changed=False, output=f"{deed.kind} is kept")

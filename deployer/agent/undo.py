"""Takes a run's steps back, newest first: each to what the journal says it was before."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployer.agent import files, images, units
from deployer.agent.errors import RefusedError, StaleError
from deployer.agent.images import Image
from deployer.agent.journal import Journal
from deployer.agent.kinds import RUNNING, UNIT_TIMEOUT
from deployer.agent.steps import Emit, reported, result, stop_when_gone
from deployer.agent.types import Json, StepOutcome


@dataclass
class Deed:
    """A step that was begun: `before` of its first line, `left` each sha256 it may have left behind.

    `superseded`: an older deed's undo does the same.
    """

    step: str
    scope: str
    kind: str
    target: str
    before: Json
    left: set[str | None] = field(default_factory=set)
    undone: bool = False
    superseded: bool = False


def deeds(entries: Sequence[Json]) -> list[Deed]:
    """Return what was begun, oldest first; a step begun twice keeps its first before-image."""
    begun: dict[str, Deed] = {}
    for entry in entries:
        step = entry["step"]
        if entry["status"] == "undone":
            begun[step].undone = True
            continue
        if step not in begun or begun[step].undone:
            begun.pop(step, None)
            begun[step] = Deed(step, entry["scope"], entry["kind"], entry["target"], entry["before"])
        begun[step].left.add(entry["after"].get("sha256"))
    return list(begun.values())


def undo(
    journal: Journal, steps: Sequence[str] | None, emit: Emit, gone: threading.Event, *, force: bool
) -> list[Json]:
    """Undo those of the run's `steps` (None: all) that are not undone yet; return their results.

    Raises StaleError before anything is changed when a file is not what the run left, unless `force`.
    """
    known = deeds(journal.entries())
    unknown = set(steps or ()) - {deed.step for deed in known}
    if unknown:
        raise RefusedError(f"run {journal.run} has no step {', '.join(sorted(unknown))} on this host")
    todo = [deed for deed in known if not deed.undone and (steps is None or deed.step in steps)]
    arranged = _arranged(known, todo)
    if not force:
        _check_files(arranged)
    results = []
    for deed in arranged:
        stop_when_gone(gone, deed.step)
        act = _bound(deed, journal, force=force)
        results.append(result(deed.step, reported(deed.step, f"undo {deed.kind} {deed.target}", emit, act)))
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


def _check_files(chosen: Sequence[Deed]) -> None:
    seen: set[str] = set()
    for deed in chosen:
        if deed.kind == "file.write" and deed.target not in seen:
            seen.add(deed.target)
            _check_left(deed, images.read(deed.target))


def _check_left(deed: Deed, image: Image) -> None:
    if image.real != deed.target or image.sha256 not in {*deed.left, deed.before.get("sha256")}:
        raise StaleError(f"{deed.target} was changed after the run", "Compare it, then force", step=deed.step)


def _bound(deed: Deed, journal: Journal, *, force: bool) -> Callable[[], StepOutcome]:
    def act() -> StepOutcome:
        if deed.kind == "file.write":
            outcome = _restore(deed, journal, force=force)
        else:
            outcome = _UNDO.get(deed.kind, _kept)(deed)
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
        return outcome

    return act


def _restore(deed: Deed, journal: Journal, *, force: bool) -> StepOutcome:
    image = images.read(deed.target)
    if not force:
        _check_left(deed, image)
    if image.sha256 not in deed.left and image.exists:
        journal.keep(image.content)  # by force over somebody's own work: that is not lost either
    before = deed.before
    if not before["exists"]:
        files.remove(deed.target)
        return StepOutcome(changed=image.exists, after=images.read(deed.target).facts())
    xattrs = {name: base64.b64decode(value) for name, value in before["xattrs_b64"].items()}
    wanted = files.Wanted(journal.blob(before["sha256"]), before["mode"], before["uid"], before["gid"], xattrs)
    changed = not wanted.is_now(image) or image.xattrs != xattrs
    if changed:
        files.replace(deed.target, wanted)
    return StepOutcome(changed=changed, after=images.read(deed.target).facts())


def _active_state(deed: Deed) -> StepOutcome:
    """Back to running or stopped; one that was restarted is restarted, to read the files that are back."""
    if deed.superseded:
        return StepOutcome(changed=False, output=f"{deed.target} is restarted once for all")
    was_running, now = deed.before["active"] in RUNNING, units.state(deed.target)
    if was_running and (deed.kind == "unit.restart" or now["active"] not in RUNNING):
        verb = "restart" if deed.kind == "unit.restart" else "start"
    elif not was_running and now["active"] not in ("inactive", "failed"):
        verb = "stop"
    else:
        return StepOutcome(changed=False, after=now)
    if now["reload_needed"]:
        units.reload()
    output = units.control(verb, deed.target, UNIT_TIMEOUT)
    return StepOutcome(changed=True, output=output, after=units.state(deed.target))


def _enabled_state(deed: Deed) -> StepOutcome:
    verb = {"enabled": "enable", "disabled": "disable"}.get(deed.before["enabled"])
    now = units.state(deed.target)
    if verb is None or now["enabled"] == deed.before["enabled"]:
        return StepOutcome(changed=False, after=now)
    output = units.control(verb, deed.target, UNIT_TIMEOUT)
    return StepOutcome(changed=True, output=output, after=units.state(deed.target))


def _kept(deed: Deed) -> StepOutcome:
    return StepOutcome(changed=False, output=f"{deed.kind} is kept")


_UNDO: dict[str, Callable[[Deed], StepOutcome]] = {
    "unit.start": _active_state,
    "unit.stop": _active_state,
    "unit.restart": _active_state,
    "unit.enable": _enabled_state,
}

"""Carries steps out, one after the other: look, journal, act, journal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from deployer.agent import images, kinds
from deployer.agent.errors import AgentError, StepError
from deployer.agent.journal import Journal
from deployer.agent.types import Json, Step, StepOutcome

Emit = Callable[[Json], None]
"""Sends one event to the controller; never fails."""


def parse(raw: Json) -> Step:
    """Return the step a controller sent."""
    return Step(
        str(raw["id"]),
        str(raw.get("scope", "")),
        str(raw["kind"]),
        dict(raw.get("args") or {}),
        raw.get("preimage"),
        str(raw.get("reason") or ""),
    )


def apply(steps: Sequence[Step], journal: Journal, emit: Emit, gone: threading.Event) -> list[Json]:
    """Carry the steps out in order and return their results; raises AgentError naming the step that failed.

    Every file is compared with its preimage before the first step acts, so that a stale plan changes nothing.
    When `gone` is set the step in hand is the last.
    """
    _check_preimages(steps)
    results = []
    for step in steps:
        stop_when_gone(gone, step.id)
        outcome = reported(step.id, step.reason, emit, lambda step=step: _carry_out(step, journal))  # type: ignore[misc]
        results.append(result(step.id, outcome))
    return results


def _check_preimages(steps: Sequence[Step]) -> None:
    seen: set[str] = set()
    for step in steps:
        if step.kind != "file.write":
            continue
        image = images.read(step.args["path"])
        if image.real not in seen:  # a second write of this run finds what the first one left
            kinds.check_preimage(step, image)
        seen.add(image.real)


def _carry_out(step: Step, journal: Journal) -> StepOutcome:
    prepared = kinds.prepare(step)
    if prepared.blob is not None:
        journal.keep(prepared.blob)
    line = {
        "step": step.id,
        "scope": step.scope,
        "kind": step.kind,
        "target": prepared.target,
        "before": prepared.before,
    }
    journal.append({**line, "status": "doing", "after": prepared.after})
    try:
        outcome = prepared.act()
    except Exception:
        journal.append({**line, "status": "failed", "after": prepared.after})
        raise
    journal.append({**line, "status": "done", "after": outcome.after})
    return outcome


def reported(step: str, reason: str, emit: Emit, act: Callable[[], StepOutcome]) -> StepOutcome:
    """Carry `act` out between its events; every error leaves with the step's id."""
    emit({"step": step, "status": "doing", "reason": reason})
    try:
        outcome = act()
    except AgentError as error:
        error.more["step"] = step
        emit({"step": step, "status": "failed", "reason": error.problem})
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        failed = StepError(f"{type(error).__name__}: {error}", step=step)
        emit({"step": step, "status": "failed", "reason": failed.problem})
        raise failed from error
    emit({"step": step, "status": "done", "reason": reason})
    return outcome


def result(step: str, outcome: StepOutcome) -> Json:
    """Return an outcome as it travels."""
    return {"id": step, "changed": outcome.changed, "output": outcome.output, "after": outcome.after}


def stop_when_gone(gone: threading.Event, step: str) -> None:
    """Raise StepError when the controller is gone and `step` is not begun."""
    if gone.is_set():
        raise StepError("the controller is gone; not begun", "Run again", step=step)

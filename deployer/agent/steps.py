"""Carries steps out in their order: look, journal, act, journal. Neighbours that only wait act at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from deployer.agent import file_kinds, images, kinds
from deployer.agent.errors import AgentError, StepError
from deployer.agent.journal import Journal
from deployer.agent.types import Json, Step, StepOutcome

# systemd does the work, and a service may take a minute to end: one after the other is a project's pause.
CONCURRENT = ("unit.start", "unit.stop")

Emit = Callable[[Json], None]
"""Sends one event to the controller; never fails."""


class _HasKind(Protocol):
    @property
    def kind(self) -> str: ...


_Item = TypeVar("_Item", bound=_HasKind)


@dataclass(frozen=True)
class Job:
    """A step, or its undo, begun: `act` does it, then `done` or `failed` journals its end."""

    step: str
    reason: str
    act: Callable[[], StepOutcome]
    done: Callable[[StepOutcome], None]
    failed: Callable[[], None] = lambda: None


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
    When `gone` is set what is in hand is the last.
    """
    _check_preimages(steps)
    results = []
    for group in groups(steps):
        stop_when_gone(gone, group[0].id)
        results += carry_out([_begin(step, journal, emit) for step in group], emit)
    return results


def groups(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Split steps or deeds, in their order, into what is carried out at once: units that start, or that stop."""
    group: list[_Item] = []
    for item in items:
        if group and not (item.kind in CONCURRENT and item.kind == group[0].kind):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _check_preimages(steps: Sequence[Step]) -> None:
    seen: set[str] = set()
    for step in steps:
        if step.kind not in file_kinds.KINDS:
            continue
        image = images.read(step.args["path"])
        if image.real not in seen:  # a second write of this run finds what the first one left
            file_kinds.check_preimage(step, image)
        seen.add(image.real)


def _begin(step: Step, journal: Journal, emit: Emit) -> Job:
    """Look at the host and journal what is found there: from now on the step counts as done for an undo."""
    emit({"step": step.id, "status": "doing", "reason": step.reason})
    with _told(step.id, emit):
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
    return Job(
        step.id,
        step.reason,
        prepared.act,
        done=lambda outcome: journal.append({**line, "status": "done", "after": outcome.after}),
        failed=lambda: journal.append({**line, "status": "failed", "after": prepared.after}),
    )


def carry_out(jobs: Sequence[Job], emit: Emit) -> list[Json]:
    """Act all at once, journal their ends in order; when all have ended the first failure is raised."""
    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        acts = [(job, pool.submit(job.act)) for job in jobs]
        ends = [_end(job, act, emit) for job, act in acts]
    for failure in (end for end in ends if isinstance(end, AgentError)):
        raise failure
    return [end for end in ends if not isinstance(end, AgentError)]


def _end(job: Job, act: Future[StepOutcome], emit: Emit) -> Json | AgentError:
    try:
        with _told(job.step, emit):
            result = _journaled(job, act)
    except AgentError as error:
        return error
    emit({"step": job.step, "status": "done", "reason": job.reason})
    return result


def _journaled(job: Job, act: Future[StepOutcome]) -> Json:
    try:
        outcome = act.result()
    except Exception:
        job.failed()
        raise
    job.done(outcome)
    return {"id": job.step, "changed": outcome.changed, "output": outcome.output, "after": outcome.after}


@contextlib.contextmanager
def _told(step: str, emit: Emit) -> Iterator[None]:
    """Let every error leave with the step's id, and tell it as an event."""
    try:
        yield
    except AgentError as error:
        error.more["step"] = step
        emit({"step": step, "status": "failed", "reason": error.problem})
        raise
    except (OSError, KeyError, ValueError, TypeError) as error:
        failed = StepError(f"{type(error).__name__}: {error}", step=step)
        emit({"step": step, "status": "failed", "reason": failed.problem})
        raise failed from error


def stop_when_gone(gone: threading.Event, step: str) -> None:
    """Raise StepError when the controller is gone and `step` is not begun."""
    if gone.is_set():
        raise StepError("the controller is gone; not begun", "Run again", step=step)

"""Carries steps out in their order: look, journal, act, journal. Neighbours that only wait act at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from deployer.agent import faults, file_kinds, images, kinds
from deployer.agent.errors import AgentError, StepError
from deployer.agent.journal import Journal
from deployer.agent.journal_lines import DOING, DONE, FAILED
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
    """A step, or its undo, whose begin is journaled: `act` does it, then its end is journaled as `line`.

    `words` are the statuses of begin, end and failure; they name the points where a fault may be had, too.
    """

    reason: str
    act: Callable[[], StepOutcome]
    journal: Journal
    line: Json
    words: tuple[str, str, str] = (DOING, DONE, FAILED)

    @property
    def step(self) -> str:
        """The step's id."""
        return str(self.line["step"])

    def begin(self) -> None:
        """Journal that it is begun."""
        self.journal.append({**self.line, "status": self.words[0]})

    def carry_out(self) -> StepOutcome:
        """Do it."""
        self._fault(self.words[0])
        return self.act()

    def end(self, act: Future[StepOutcome]) -> StepOutcome:
        """Journal how it ended and return that; raises what it failed with."""
        try:
            outcome = act.result()
        except Exception:
            self.journal.append({**self.line, "status": self.words[2]})
            raise
        self._fault(self.words[1])
        self.journal.append({**self.line, "status": self.words[1], "after": outcome.after})
        self._fault("ended" if self.words[1] == DONE else "undone-ended")
        return outcome

    def _fault(self, point: str) -> None:
        faults.at(point, self.step, str(self.line["kind"]))


def parse(raw: Json, run: str = "") -> Step:
    """Return the step a controller sent for a run."""
    return Step(
        str(raw["id"]),
        str(raw.get("scope", "")),
        str(raw["kind"]),
        dict(raw.get("args") or {}),
        raw.get("preimage"),
        str(raw.get("reason") or ""),
        run,
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
    faults.begin(step.id)
    with told(step.id, emit):
        prepared = kinds.prepare(step)
        for content in (prepared.blob, prepared.content):
            if content is not None:
                journal.keep(content)
        line: Json = {"step": step.id, "scope": step.scope, "kind": step.kind, "target": prepared.target}
        line |= {"before": prepared.before, "after": prepared.after}
        job = Job(step.reason, prepared.act, journal, line)
        job.begin()
    return job


def carry_out(jobs: Sequence[Job], emit: Emit) -> list[Json]:
    """Act all at once, journal their ends in order; when all have ended the first failure is raised."""
    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        acts = [(job, pool.submit(job.carry_out)) for job in jobs]
        ends = [_end(job, act, emit) for job, act in acts]
    for failure in (end for end in ends if isinstance(end, AgentError)):
        raise failure
    return [end for end in ends if not isinstance(end, AgentError)]


def _end(job: Job, act: Future[StepOutcome], emit: Emit) -> Json | AgentError:
    try:
        with told(job.step, emit):
            outcome = job.end(act)
    except AgentError as error:
        return error
    emit({"step": job.step, "status": "done", "reason": job.reason})
    return {"id": job.step, "changed": outcome.changed, "output": outcome.output, "after": outcome.after}


@contextlib.contextmanager
def told(step: str, emit: Emit) -> Iterator[None]:
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

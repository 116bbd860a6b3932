"""What a host did in a run, step by step, as its journal's lines tell it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_ENDS = ("done", "failed")
_UNDO_ENDS = ("undone", "undo failed")


@dataclass(frozen=True)
class Act:
    """One step on one host: `status` as last journaled, `when` it began and `undone` when it was taken back.

    Times are ISO 8601, UTC; `seconds` is None for a step whose end nobody saw.
    """

    step: str
    scope: str
    kind: str
    target: str
    status: str
    when: str
    seconds: float | None
    undone: str | None

    @property
    def project(self) -> str:
        """The project that the step was done for, "" for a broker or a router."""
        return self.scope.removeprefix("project:") if self.scope.startswith("project:") else ""


def acts(lines: Iterable[Mapping[str, Any]]) -> list[Act]:
    """Return the steps that a journal tells of, in the order in which they began."""
    steps: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        steps.setdefault(line["step"], []).append(line)
    return [_act(own) for own in steps.values()]


def _act(own: list[Mapping[str, Any]]) -> Act:
    first, last = own[0], own[-1]
    ended = next((line["at"] for line in reversed(own) if line["status"] in _ENDS), None)
    undone = next((line["at"] for line in reversed(own) if line["status"] in _UNDO_ENDS), None)
    step, scope, kind, target, status = (str(last[key]) for key in ("step", "scope", "kind", "target", "status"))
    return Act(step, scope, kind, target, status, first["at"], _seconds(first["at"], ended), undone)


def _seconds(began: str, ended: str | None) -> float | None:
    if ended is None:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()

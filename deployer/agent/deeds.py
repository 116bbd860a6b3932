"""What a run did to this host, as its journal tells it, and what it takes to take one thing of it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployer.agent.journal import Journal
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


Undo = Callable[[Deed, Journal, bool], StepOutcome]
"""Takes one deed back; the flag is `force`. Raises StaleError when without it somebody's work would be lost."""

Check = Callable[[Deed], None]
"""Raises StaleError when what the deed left is not there any more; changes nothing."""


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

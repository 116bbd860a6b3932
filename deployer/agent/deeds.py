"""What a run did to this host, as its journal tells it, and what it takes to take one thing of it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deployer.agent.journal import Journal
from deployer.agent.journal_lines import DOING, DONE, FAILED, UNDONE
from deployer.agent.types import Json, StepOutcome


@dataclass(frozen=True)
class Merged:
    """What a file gets in the place of its before-image (None: it is removed), if it still has `sha256`."""

    content: bytes | None = field(repr=False)
    sha256: str | None


@dataclass
class Deed:
    """A step that was begun: `before` of its first line, `left` each sha256 it may have left behind, `after` of its
    last line.

    `superseded`: another deed's undo does the same. `merged` is put in the place of the before-image.
    """

    step: str
    scope: str
    kind: str
    target: str
    before: Json
    after: Json = field(default_factory=dict)
    left: set[str | None] = field(default_factory=set)
    undone: bool = False
    superseded: bool = False
    merged: Merged | None = None


Undo = Callable[[Deed, Journal, bool], StepOutcome]
"""Takes one deed back; the flag is `force`. Raises StaleError when without it somebody's work would be lost."""

Check = Callable[[Deed], None]
"""Raises StaleError when what the deed left is not there any more; changes nothing."""


def deeds(entries: Sequence[Json]) -> list[Deed]:
    """Return what was begun, oldest first; a step begun twice keeps its first before-image."""
    begun: dict[str, Deed] = {}
    for entry in entries:
        step, status = entry["step"], entry["status"]
        if status == DOING and (step not in begun or begun[step].undone):
            begun.pop(step, None)
            begun[step] = Deed(step, entry["scope"], entry["kind"], entry["target"], entry["before"])
        if status == UNDONE:
            begun[step].undone = True
        if status in (DOING, DONE, FAILED):
            begun[step].after = entry["after"]
            begun[step].left.add(entry["after"].get("sha256"))
    return list(begun.values())

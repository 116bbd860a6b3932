"""The few words that every part of the agent shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One thing to do in a run: `args` may hold secrets, `preimage` is `{"sha256": hex or None}` or None."""

    id: str
    scope: str
    kind: str
    args: Json = field(repr=False)
    preimage: Json | None = None
    reason: str = ""
    run: str = ""


@dataclass(frozen=True)
class StepOutcome:
    """What a step did: `output` is for people, masked; `after` is the host now (no content, no secret)."""

    changed: bool
    output: str = ""
    after: Json = field(default_factory=dict)


Act = Callable[[Json], StepOutcome]
"""A step kind's function: takes the step's `args`, raises StepError when it cannot be done."""


@dataclass(frozen=True)
class Prepared:
    """A step not begun: the journal gets `before`, the intended `after`, `blob`, the before-image, and `content`, what
    it is going to write."""

    target: str
    act: Callable[[], StepOutcome]
    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    blob: bytes | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)


Prepare = Callable[[Step], Prepared]
"""A step kind's look at the host, which changes nothing; raises StaleError, RefusedError if it cannot begin."""

Question = Callable[[Json], Json]
"""An op that only asks: takes the request's `args`, returns the answer's `ok`."""

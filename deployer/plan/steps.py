"""Steps and plans: data only. Nothing here knows SSH, and nothing here prints a secret."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Intent:
    """What is wanted of one host, before it has a place in a run: a Step without its id and scope.

    `args` and `preimage` are those of the agent's protocol (docs/architecture.md); `reason` is one line for people.
    """

    kind: str
    args: dict[str, Any] = field(repr=False)
    reason: str
    preimage: dict[str, Any] | None = None


@dataclass(frozen=True)
class Step:
    """One act of one host in one run. `scope` is `project:NAME` or `backend:GROUP`."""

    id: str
    scope: str
    kind: str
    args: dict[str, Any] = field(repr=False)
    reason: str
    preimage: dict[str, Any] | None = None

    @classmethod
    def of(cls, intent: Intent, number: int, scope: str) -> Step:
        """Give an intent its place: `number` counts the steps of the run, from 1."""
        return cls(f"{number:04d}", scope, intent.kind, intent.args, intent.reason, intent.preimage)

    def wire(self) -> dict[str, Any]:
        """Return the step as the agent takes it."""
        return {
            "id": self.id,
            "scope": self.scope,
            "kind": self.kind,
            "args": self.args,
            "preimage": self.preimage,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Wave:
    """Intents for some hosts at once, or host after host when `serial`."""

    title: str
    scope: str
    intents: dict[str, tuple[Intent, ...]]
    serial: bool = False

    def steps(self, numbers: Iterator[int]) -> dict[str, list[Step]]:
        """Give all intents their places, host after host."""
        return {
            host: [Step.of(intent, next(numbers), self.scope) for intent in intents]
            for host, intents in self.intents.items()
        }

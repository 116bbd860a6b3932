"""Faults on demand, for tests of what survives them: HYBRIDMSG_FAULT in the agent's environment, else nothing.

`POINT[@STEP][#N]=ACTION`, several with commas; STEP is a step's id or its kind. At each point there is one call of
`at`. Whoever can set root's environment on a host needs no fault to break it.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.agent.errors import RefusedError

VARIABLE = "HYBRIDMSG_FAULT"
POINTS = ("doing", "done", "ended", "undoing", "undone", "undone-ended", "fsync", "rename")
PAUSE_LIMIT = 900.0  # seconds: an agent that a test has forgotten ends its pause
_POLL = 0.05
_FAULT = re.compile(r"(?P<point>[a-z-]+)(@(?P<step>[^#=]+))?(#(?P<number>[1-9]\d*))?=(?P<action>[a-z]+)")


@dataclass
class Fault:
    """What happens at a point: at any step, one or those of a kind, each time or the N-th; `met` counts the times."""

    point: str
    step: str | None
    number: int | None
    action: str
    met: int = 0

    def strikes(self, point: str, step: str, kind: str) -> bool:
        """Count a point that is reached, and tell whether it is this fault's."""
        if point != self.point or self.step not in (None, step, kind):
            return False
        self.met += 1
        return self.number in (None, self.met)


_armed: list[Fault] = []
_state = Path()
_step = ""


def arm(environment: Mapping[str, str], state: Path) -> None:
    """Take the faults of the environment; raises RefusedError naming a word that is unknown."""
    global _state  # noqa: PLW0603 - one process is one agent
    _armed[:] = [_parse(word) for word in environment.get(VARIABLE, "").split(",") if word]
    _state = state


def begin(step: str) -> None:
    """Say which step is in hand: what `fsync` and `rename` belong to."""
    global _step  # noqa: PLW0603 - one process is one agent
    _step = step


def at(point: str, step: str | None = None, kind: str = "") -> None:
    """Let happen what is to happen at a point (of the step in hand, when none is named); raises OSError."""
    if _armed:
        _meet(point, _step if step is None else step, kind)


def _meet(point: str, step: str, kind: str) -> None:
    for fault in _armed:
        if fault.strikes(point, step, kind):
            _ACTIONS[fault.action]()


def _parse(word: str) -> Fault:
    found = _FAULT.fullmatch(word)
    if not found or found["point"] not in POINTS or found["action"] not in _ACTIONS:
        known = f"POINT[@STEP][#N]=ACTION; points: {', '.join(POINTS)}; actions: {', '.join(_ACTIONS)}"
        raise RefusedError(f"{VARIABLE}: {word!r} is no fault", known)
    return Fault(found["point"], found["step"], int(found["number"]) if found["number"] else None, found["action"])


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def _pause() -> None:
    paused = _state / "paused"
    paused.touch(mode=0o600)
    deadline = time.monotonic() + PAUSE_LIMIT
    while paused.exists() and time.monotonic() < deadline:
        # The standard library has no way to be told of a file that goes.
        time.sleep(_POLL)


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill": _kill,
    "eio": _fail(errno.EIO),
    "enospc": _fail(errno.ENOSPC),
    "pause": _pause,
}

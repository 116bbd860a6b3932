"""The guard: puts back what a run changed on this host and nobody confirmed in time, or that a boot found pending.

Run by systemd (guard_unit.py) from the agent's zip. It waits for the host's lock: while a controller lives, that one is
in charge. It journals as the run itself, so that whoever comes next finds the steps undone.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from deployer.agent import guard_unit, kinds, pending, units
from deployer.agent.deeds import Deed, deeds
from deployer.agent.errors import AgentError, LockedError, RefusedError, StaleError
from deployer.agent.journal import Journal
from deployer.agent.lock import HostLock
from deployer.agent.pending import Pending
from deployer.agent.types import Json
from deployer.agent.unconfirmed import unconfirmed
from deployer.agent.undo import undo

CELLS_PATIENCE = 60.0  # seconds: at boot nova's database may come up later than this host
CELLS_PAUSE = 5.0  # seconds between two tries
GOING_BACK = "this host began to put it back by itself"
_CELLS, _STOP, _COMMIT = {"nova.cells"}, {"unit.stop"}, {"commit.begin", "commit.confirm"}
_GO_BACK = kinds.UNDO.keys() | _COMMIT
"""All others are kept: they are not journaled as undone."""


def main(state: Path, words: Sequence[str]) -> int:
    """Do as the words after `guard` say and return the exit code, 1 when something is not back.

    None: the timer's run. `boot`: nothing is waited for. `check`: nothing but the start itself is tried.
    """
    if "check" in words:
        return 0
    os.umask(0o022)
    os.environ["HYBRIDMSG_STATE"] = str(state)
    at_boot = "boot" in words
    lock = HostLock(state)
    holder = {"who": f"hybridmsg-guard@{socket.gethostname()}", "when": _now(), "run": ""}
    try:
        lock.take(holder, wait=not at_boot)
    except LockedError:
        # Services wait for this unit: a controller that is here already may start them only once it has ended.
        tell("a controller holds this host and is in charge")
        if not guard_unit.schedule(state, 1).ok:
            tell("the timer that looks again cannot be started")
        return 0
    if at_boot:
        units.never_wait()
    try:
        return put_back_all(state)
    finally:
        lock.let_go()


def put_back_all(state: Path) -> int:
    """Put every scope back whose deadline is over, and return 1 when one is not back; needs the lock."""
    gone = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: gone.set())
    try:
        now = _pending(state)
    except RefusedError as error:
        tell(f"it is not known what is to be put back: {error.problem}. {error.remedy}")
        return 1
    due = now.due() if now is not None else []
    if now is None or not due:
        tell("nothing is to be put back")
        return 0
    problems = 0
    for scope in due:
        tell(f"{scope} of run {now.run} was not confirmed and goes back")
        now = now.noted(scope, GOING_BACK)
        pending.save(state, now)
        problem = _put_back(state, now.run, scope, gone)
        now = now.noted(scope, problem) if problem else now.without(scope)
        pending.save(state, now)
        tell(f"{scope} is not back: {problem}" if problem else f"{scope} is back as it was")
        problems += bool(problem)
    return 1 if problems else 0


def _pending(state: Path) -> Pending | None:
    """Return what is pending, by the journals where the document is damaged: they make a new one of it."""
    try:
        return pending.read(state)
    except RefusedError as error:
        tell(f"{error.problem}: what the newest run's journal does not tell as confirmed goes back")
        found = unconfirmed(state)
        pending.save(state, found)
        return found


def _put_back(state: Path, run: str, scope: str, gone: threading.Event) -> str:
    """Put one scope back and return what keeps it from being back, or nothing."""
    journal, stopped = Journal(state, run), Journal(state, f"{run}-undo")
    if not journal.directory.is_dir():
        return f"this host has no journal of run {run}"
    way = _WayBack(scope, gone)
    # Files before cells, which may be out of reach; services last, whatever went wrong: they must not stay down.
    way.undo(journal, lambda deed: deed.kind not in _CELLS | _STOP | _COMMIT)
    way.undo_patiently(journal, lambda deed: deed.kind in _CELLS)
    for one in (journal, stopped):
        if one.directory.is_dir():
            way.undo(one, lambda deed: deed.kind in _STOP)
    if not way.problems:
        way.undo(journal, lambda deed: deed.kind in _COMMIT)
    return "cut off" if gone.is_set() and way.problems else "; ".join(way.problems)


@dataclass
class _WayBack:
    scope: str
    gone: threading.Event
    problems: list[str] = field(default_factory=list)

    def undo(self, journal: Journal, wanted: Callable[[Deed], bool]) -> None:
        """Undo what stands and is wanted, newest first; files all or, where somebody changed one since, none."""
        error = self._try(journal, wanted)
        if error is not None:
            self.problems.append(_told(error))

    def undo_patiently(self, journal: Journal, wanted: Callable[[Deed], bool]) -> None:
        """Undo likewise, again and again for CELLS_PATIENCE seconds."""
        until = time.monotonic() + CELLS_PATIENCE
        while error := self._try(journal, wanted):
            if isinstance(error, StaleError) or time.monotonic() > until or self.gone.wait(CELLS_PAUSE):
                self.problems.append(_told(error))
                return

    def _try(self, journal: Journal, wanted: Callable[[Deed], bool]) -> Exception | None:
        try:
            known = deeds(journal.entries())
            own = [deed for deed in known if deed.scope == self.scope and deed.kind in _GO_BACK]
            steps = [deed.step for deed in own if not deed.undone and wanted(deed)]
            if steps:
                undo(journal, steps, _event, self.gone, force=False)
        except Exception as error:  # noqa: BLE001 - a defect in one part must not keep the services down
            return error
        return None


def _told(error: Exception) -> str:
    if isinstance(error, AgentError):
        return error.problem
    # Not its text, which may quote what it choked on.
    return f"{type(error).__name__}, a defect of hybridmsg"


def _event(event: Json) -> None:
    if "step" in event:
        tell(f"{event['step']} {event['status']}: {event['reason']}")


def tell(text: str) -> None:
    """Say it in systemd's journal."""
    print(text, flush=True)  # noqa: T201 - systemd's journal is where a unit's stdout goes


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

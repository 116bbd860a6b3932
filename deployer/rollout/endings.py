"""How each host of a deployment ends in a run: by what was to be done there, what was, and what an error tells of it.

ok           it is as planned: nothing was to be changed there, or what was sent changed nothing
changed      the run changed it, and that stands
failed       something failed there; whether the project went back is the run's state to tell
unreachable  there was no session with it
skipped      something was to be done there and was not, or was taken back whole: the run ended before, or elsewhere
unknown      its session was lost, or its answer late, while it was changed, and it was not asked since
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from deployer.errors import (
    REACHABLE,
    ConnectionLost,
    DeadlineExceeded,
    GateFailed,
    HostError,
    HostsFailed,
    HybridmsgError,
    Interrupted,
    PreflightFailed,
    Silence,
    UndoFailed,
    Unreachable,
)
from deployer.nornir_plugins.runner import RunInterrupted
from deployer.plan.steps import Wave

Ending = Literal["ok", "changed", "failed", "unreachable", "skipped", "unknown"]
_WORST_FIRST: tuple[Ending, ...] = ("unknown", "unreachable", "failed")


class Tally:
    """What a verb means to do on the hosts of a deployment, and how far it came. Scopes are those of the journal."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = tuple(hosts)
        self._planned: dict[str, set[str]] | None = None
        self._changed: dict[str, dict[str, bool]] = {}
        self._left_out: set[str] = set()
        self._settled: set[str] = set()

    def plan(self, waves: Iterable[Wave]) -> None:
        """Take in what is to be done; until then every host counts as skipped."""
        self._planned = {} if self._planned is None else self._planned
        for wave in waves:
            self._planned.setdefault(wave.scope, set()).update(wave.intents)

    def leave_out(self, hosts: Iterable[str]) -> None:
        """Take in that the run goes on without these hosts, which are out of reach."""
        self._left_out.update(hosts)

    def done(self, scope: str, changed: Mapping[str, bool]) -> None:
        """Take in that hosts did what they were told, and whether that changed them."""
        own = self._changed.setdefault(scope, {})
        own.update({host: own.get(host, False) or one for host, one in changed.items()})

    def went_back(self, scope: str) -> None:
        """Take in that all hosts of a scope are as before it: that none of them is unknown any more."""
        self._settled |= {*self._changed.pop(scope, {}), *(self._planned or {}).get(scope, ())}

    def endings(self, error: BaseException | None = None) -> dict[str, Ending]:
        """Return how each host ends, when the verb ends now with this error or with none."""
        told: dict[str, set[Ending]] = {}
        for host, ending in _told(error, self._hosts):
            told.setdefault(host, set()).add("failed" if ending == "unknown" and host in self._settled else ending)
        return {host: self._ending(host, told.get(host, set())) for host in self._hosts}

    def _ending(self, host: str, told: set[Ending]) -> Ending:
        worst = [ending for ending in _WORST_FIRST if ending in told]
        if worst or host in self._left_out:
            return worst[0] if worst else "unreachable"
        if any(hosts.get(host) for hosts in self._changed.values()):
            return "changed"
        if self._planned is None:
            return "skipped"
        wanting = {scope for scope, hosts in self._planned.items() if host in hosts}
        return "skipped" if any(host not in self._changed.get(scope, {}) for scope in wanting) else "ok"


@contextmanager
def telling(tally: Tally) -> Iterator[None]:
    """Let an error that ends a verb tell how each host ended: its `hosts`."""
    try:
        yield
    except HybridmsgError as error:
        error.hosts = dict(tally.endings(error))
        raise


@contextmanager
def untouched() -> Iterator[None]:
    """Let whoever interrupts what only reads know that it did no more."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted("Nothing was changed") from error


def _told(error: BaseException | None, hosts: Iterable[str]) -> Iterator[tuple[str, Ending]]:
    """Yield what an error, and those that it stands for, tells of hosts."""
    if isinstance(error, UndoFailed):
        yield from _told(error.cause, hosts)
        yield from _told(error.undo, hosts)
    elif isinstance(error, RunInterrupted):
        yield from ((host, "unknown") for host in error.broken_off)
    elif isinstance(error, Interrupted):
        yield from _told(error.__cause__, hosts)
    else:
        yield from _named(error, hosts)


def _named(error: BaseException | None, hosts: Iterable[str]) -> Iterator[tuple[str, Ending]]:
    """Yield what an error that names hosts tells of them."""
    if isinstance(error, HostsFailed):
        yield from ((host, _ending_of(one)) for host, one in error.errors.items())
    elif isinstance(error, HostError):
        yield error.host, _ending_of(error)
    elif isinstance(error, GateFailed):
        yield from ((host, "failed") for one in error.silent if (host := _silent_host(one, hosts)))
    elif isinstance(error, PreflightFailed):
        down = {finding.host for finding in error.findings if finding.check == REACHABLE}
        yield from ((one.host, "unreachable" if one.host in down else "failed") for one in error.findings)


def _ending_of(error: BaseException) -> Ending:
    if isinstance(error, (ConnectionLost, DeadlineExceeded)):
        return "unknown"
    return "unreachable" if isinstance(error, Unreachable) else "failed"


def _silent_host(silence: Silence, hosts: Iterable[str]) -> str | None:
    """Return the host of a server that does not answer, else the host that asked."""
    return next((host for host in (silence.target.rpartition("@")[2], silence.asked_from) if host in hosts), None)

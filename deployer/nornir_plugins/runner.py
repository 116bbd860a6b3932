"""Nornir's runner plugin `hybridmsg_threads`: hosts in threads, with a deadline, and it can be stopped.

Nornir's own ThreadedRunner goes on through its whole queue after Ctrl-C (nornir issue 1086).
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable

from nornir.core.inventory import Host
from nornir.core.task import AggregatedResult, MultiResult, Result, Task

from deployer.errors import DeadlineExceeded, Interrupted

RUNNER_NAME = "hybridmsg_threads"
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunInterrupted(Interrupted):
    """Interrupted, with what was done.

    `result` has the hosts that finished; `broken_off` and `never_started` are the names of the others. `twice`: the
    operator did not want to wait for those that were at work.
    """

    def __init__(
        self, result: AggregatedResult, broken_off: list[str], never_started: list[str], *, twice: bool
    ) -> None:
        self.result, self.broken_off, self.never_started, self.twice = result, broken_off, never_started, twice
        groups = {"finished": list(result), "broken off": broken_off, "never started": never_started}
        super().__init__("; ".join(f"{what}: {', '.join(names)}" for what, names in groups.items() if names))


class DeadlineRunner:
    """Runs a task over hosts in `num_workers` threads, for at most `deadline` seconds.

    Hosts not done by then fail with DeadlineExceeded. The first Ctrl-C lets running hosts finish and starts
    no other, the second breaks their sessions off; either way RunInterrupted follows.
    """

    def __init__(self, num_workers: int = 20, deadline: float | None = None) -> None:
        self.num_workers = num_workers
        self.deadline = deadline

    def run(self, task: Task, hosts: list[Host]) -> AggregatedResult:
        """Return every host's result; raises RunInterrupted after Ctrl-C. To be called in the main thread."""
        wave = _Wave(task, hosts)
        ends_at = None if self.deadline is None else time.monotonic() + self.deadline
        try:
            wave.start(min(self.num_workers, len(hosts)))
            wave.wait(ends_at)
        except KeyboardInterrupt:
            wave.cancel()
            twice = _interrupted(lambda: wave.wait(ends_at))
            broken_off = wave.break_off()
            raise RunInterrupted(wave.result(), broken_off, wave.never_started, twice=twice) from None
        wave.cancel()
        wave.break_off()
        return wave.result(late=self._late)

    def _late(self, host: Host) -> DeadlineExceeded:
        remedy = "What it was doing may have been done: ask it again, or allow more time"
        return DeadlineExceeded(host.name, f"not done within {self.deadline:g} s", remedy)


def _interrupted(wait: Callable[[], None]) -> bool:
    try:
        wait()
    except KeyboardInterrupt:
        return True
    return False


def abandoned() -> bool:
    """Return whether the runner gave up on the host this thread works for."""
    worker = threading.current_thread()
    return isinstance(worker, _Worker) and worker.wave.abandoned


class _Wave:
    """The hosts of one run: `waiting` and the outcomes are shared with the workers."""

    def __init__(self, task: Task, hosts: list[Host]) -> None:
        self.task = task
        self.hosts = hosts
        self.waiting = deque(hosts)
        self.never_started: list[str] = []
        self.abandoned = False
        self._outcomes: dict[str, MultiResult] = {}
        self._changed = threading.Condition()

    def start(self, workers: int) -> None:
        for _ in range(workers):
            _Worker(self).start()

    def report(self, host: Host, outcome: MultiResult) -> None:
        """Take in a host's outcome, unless the host was given up: then it counts as broken off or late only."""
        with self._changed:
            if not self.abandoned:
                self._outcomes[host.name] = outcome
                self._changed.notify()

    def wait(self, ends_at: float | None) -> None:
        """Return when every host that was started is done, or at `ends_at` (monotonic seconds)."""
        timeout = None if ends_at is None else max(ends_at - time.monotonic(), 0)
        with self._changed:
            self._changed.wait_for(self._all_done, timeout)

    def cancel(self) -> None:
        """Start no other host."""
        with contextlib.suppress(IndexError):
            while True:
                self.never_started.append(self.waiting.popleft().name)

    def break_off(self) -> list[str]:
        """Close the sessions of hosts still running (agents finish the step in hand); return the names."""
        with self._changed:
            self.abandoned = True
        running = [host for host in self.hosts if host.name not in {*self._outcomes, *self.never_started}]
        for host in running:
            for connection in list(host.connections.values()):
                connection.close()
        return [host.name for host in running]

    def result(self, late: Callable[[Host], Exception] | None = None) -> AggregatedResult:
        """Return the outcomes in the order of the hosts; with `late`, a failure for each that has none."""
        result = AggregatedResult(self.task.name)
        for host in self.hosts:
            if host.name in self._outcomes:
                result[host.name] = self._outcomes[host.name]
            elif late is not None:
                result[host.name] = _failure(self.task, host, late(host))
        return result

    def _all_done(self) -> bool:
        return len(self._outcomes) + len(self.never_started) >= len(self.hosts)


class _Worker(threading.Thread):
    """Takes hosts off the queue; a daemon, for a host that hangs must not keep the program from ending."""

    def __init__(self, wave: _Wave) -> None:
        super().__init__(daemon=True)
        self.wave = wave

    def run(self) -> None:
        # Only the main thread acts on a signal. One that another thread takes does not wake it: Ctrl-C would be lost.
        # The threads of a session are started here and inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        with contextlib.suppress(IndexError):
            while True:
                host = self.wave.waiting.popleft()
                self.wave.report(host, _outcome(self.wave.task, host))


def _outcome(task: Task, host: Host) -> MultiResult:
    try:
        return task.copy().start(host)
    except BaseException as error:  # noqa: BLE001  # unreported, the run would wait for this host for ever
        return _failure(task, host, error)


def _failure(task: Task, host: Host, error: BaseException) -> MultiResult:
    results = MultiResult(task.name)
    results.append(Result(host, result=str(error), exception=error, failed=True))
    return results

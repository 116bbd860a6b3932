"""The runner: every host once, bounded threads, deadlines, and failures that stay with their host."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.task import Task

from deployer.errors import DeadlineExceeded
from deployer.nornir_plugins import register
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import DeadlineRunner, RunInterrupted, abandoned


def nornir_of(count: int, runner: DeadlineRunner) -> Nornir:
    """Return a Nornir with hosts h0 ... and this runner."""
    hosts = Hosts({f"h{number}": Host(f"h{number}") for number in range(count)})
    return Nornir(Inventory(hosts=hosts, groups=Groups(), defaults=Defaults()), runner=runner)


def nothing(task: Task) -> None:
    """Do nothing."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Hosts that wait for it go on at the test's end."""
    event = threading.Event()
    yield event
    event.set()


def test_every_host_runs_once_and_results_are_in_the_inventorys_order() -> None:
    seen: list[str] = []

    def work(task: Task) -> str:
        seen.append(task.host.name)
        return task.host.name.upper()

    result = nornir_of(50, DeadlineRunner(num_workers=7)).run(work)
    assert sorted(seen) == sorted(result)
    assert list(result) == [f"h{number}" for number in range(50)]
    assert result["h7"][0].result == "H7"


def test_no_more_hosts_run_at_once_than_there_are_workers() -> None:
    now, most, lock = [0], [0], threading.Lock()

    def work(task: Task) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1

    nornir_of(12, DeadlineRunner(num_workers=3)).run(work)
    assert most == [3]


def test_no_hosts_are_no_error() -> None:
    assert dict(nornir_of(0, DeadlineRunner()).run(nothing)) == {}


def test_one_hosts_failure_is_that_hosts_alone() -> None:
    def work(task: Task) -> None:
        if task.host.name == "h1":
            raise ValueError("broken")

    result = nornir_of(3, DeadlineRunner()).run(work)
    assert list(result.failed_hosts) == ["h1"]
    assert isinstance(result["h1"][0].exception, ValueError)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_nornir_does_not_catch_fails_the_host_and_not_the_run(error: BaseException) -> None:
    def work(task: Task) -> None:
        if task.host.name == "h1":
            raise error

    result = nornir_of(3, DeadlineRunner()).run(work)
    assert list(result.failed_hosts) == ["h1"]


def test_hosts_late_for_the_deadline_fail_and_the_run_returns(release: threading.Event) -> None:
    started: list[str] = []

    def work(task: Task) -> None:
        started.append(task.host.name)
        if task.host.name == "h0":
            release.wait(60)

    began = time.monotonic()
    result = nornir_of(3, DeadlineRunner(num_workers=3, deadline=0.3)).run(work)
    assert time.monotonic() - began < 5
    assert list(result.failed_hosts) == ["h0"]
    assert isinstance(result["h0"][0].exception, DeadlineExceeded)
    assert "h0: not done within 0.3 s" in str(result["h0"][0].exception)


def test_hosts_still_queued_at_the_deadline_never_start(release: threading.Event) -> None:
    started: list[str] = []
    seen_after: list[bool] = []
    done = threading.Event()

    def work(task: Task) -> None:
        started.append(task.host.name)
        release.wait(60)
        seen_after.append(abandoned())
        done.set()

    result = nornir_of(3, DeadlineRunner(num_workers=1, deadline=0.2)).run(work)
    assert list(result.failed_hosts) == ["h0", "h1", "h2"]
    release.set()
    assert done.wait(5)
    assert started == ["h0"]
    assert seen_after == [True], "the host's thread can know that nobody waits for it"


def test_sessions_of_late_hosts_are_closed(release: threading.Event) -> None:
    closed = threading.Event()

    class Connection:
        close = closed.set

    def work(task: Task) -> None:
        task.host.connections["any"] = Connection()  # type: ignore[assignment]  # only closed
        release.wait(60)

    nornir_of(1, DeadlineRunner(deadline=0.2)).run(work)
    assert closed.is_set()


def test_a_host_that_ends_while_it_is_given_up_counts_as_late(release: threading.Event) -> None:
    ended = threading.Event()

    class Connection:
        def close(self) -> None:
            release.set()
            ended.wait(5)
            time.sleep(0.05)

    def work(task: Task) -> None:
        task.host.connections["any"] = Connection()  # type: ignore[assignment]  # only closed
        release.wait(60)
        ended.set()

    result = nornir_of(1, DeadlineRunner(deadline=0.2)).run(work)
    assert isinstance(result["h0"][0].exception, DeadlineExceeded)


def test_an_interrupt_lets_the_running_host_finish_and_starts_no_other() -> None:
    def work(task: Task) -> str:
        if task.host.name == "h1":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return "done"

    with pytest.raises(RunInterrupted) as stopped:
        nornir_of(4, DeadlineRunner(num_workers=1)).run(work)
    assert list(stopped.value.result) == ["h0", "h1"]
    assert stopped.value.never_started == ["h2", "h3"]
    assert stopped.value.broken_off == []
    assert str(stopped.value) == "interrupted. finished: h0, h1; never started: h2, h3"
    assert stopped.value.exit_code == 130


def test_a_processor_that_fails_does_not_hang_the_run() -> None:
    class Broken(Progress):
        def task_instance_started(self, task: Task, host: Host) -> None:  # noqa: ARG002  # Nornir's signature
            raise RuntimeError("broken processor")

    nornir = nornir_of(2, DeadlineRunner()).with_processors([Broken(quiet=True)])
    assert nornir.run(nothing).failed


def test_registering_twice_is_no_error() -> None:
    register()
    register()


def test_no_thread_of_a_host_takes_a_signal_that_would_then_not_wake_the_main_thread() -> None:
    stops = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    blocked: list[set[int]] = []

    def look() -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    def work(_task: Task) -> None:
        look()
        library = threading.Thread(target=look)  # as paramiko's
        library.start()
        library.join()

    nornir_of(1, DeadlineRunner()).run(work)
    assert [stops <= one for one in blocked] == [True, True]
    assert not stops & signal.pthread_sigmask(signal.SIG_BLOCK, ())

"""Ctrl-C in a program that is at work on real hosts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ssh.conftest import Start
from tests.ssh.sshd import Sshd

PROGRAM = """
    import json, sys
    from deployer.nornir_plugins import session
    from deployer.nornir_plugins.processor import Progress
    from deployer.nornir_plugins.runner import DeadlineRunner, RunInterrupted
    from tasks.session import ask
    from tests.ssh import peer, sshd

    port, extras, seconds = int(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])
    session.agent_bundle = peer.bundle
    hosts = {f"ctl{number}": (port, extras) for number in range(1, 7)}

    def work(task):
        ask(task, "echo", {}, deadline=10)
        print(f"started {task.host.name}", flush=True)
        ask(task, "late", {"seconds": seconds}, deadline=100)
        print(f"finished {task.host.name}", flush=True)

    with sshd.nornir_over(hosts, DeadlineRunner(num_workers=2)) as nornir:
        try:
            nornir.with_processors([Progress(quiet=True)]).run(work)
        except RunInterrupted as stopped:
            print(stopped, flush=True)
            sys.exit(stopped.exit_code)
"""


STEPS = """
    import json, sys
    from deployer.nornir_plugins.processor import Progress
    from deployer.nornir_plugins.runner import DeadlineRunner, RunInterrupted
    from deployer.plan.steps import Step
    from tasks.steps import apply_steps, lock_host
    from tests.ssh import sshd

    hosts = {name: tuple(address) for name, address in json.loads(sys.argv[1]).items()}
    files = json.loads(sys.argv[2])

    def step(number, path):
        args = {"path": path, "content_b64": "bmV3", "mode": None, "user": None, "group": None}
        return Step(f"{number:04d}", "test", "file.write", args, "write it", {"sha256": None})

    with sshd.nornir_over(hosts, DeadlineRunner(num_workers=1)) as nornir:
        nornir.run(lock_host, run="r1")
        try:
            steps = {name: [step(1, files[name])] for name in hosts}
            nornir.with_processors([Progress(quiet=True)]).run(apply_steps, run="r1", steps=steps)
        except RunInterrupted as stopped:
            print(stopped, stopped.twice, flush=True)
            sys.exit(stopped.exit_code)
"""


class Program:
    """A program with its lines as they come."""

    def __init__(self, text: str, *arguments: object) -> None:
        root = Path(__file__).parents[2]
        words = [one if isinstance(one, str) else json.dumps(one) for one in arguments]
        argv = [sys.executable, "-c", textwrap.dedent(text), *words]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)

    def lines(self, count: int) -> set[str]:
        """Wait for `count` lines."""
        assert self.process.stdout is not None
        return {self.process.stdout.readline().strip() for _ in range(count)}

    def end(self) -> str:
        """Return the rest of the output."""
        self.process.wait(30)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        assert not self.process.stderr.read()
        return self.process.stdout.read()


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Ends what a failed test leaves running."""
    started: list[Program] = []
    yield started
    for program in started:
        program.process.kill()
        program.process.communicate()


def test_the_first_interrupt_lets_running_hosts_finish_and_starts_no_other(
    server: Sshd, programs: list[Program]
) -> None:
    programs.append(Program(PROGRAM, server.port, server.extras(), 1))
    assert programs[0].lines(2) == {"started ctl1", "started ctl2"}
    programs[0].process.send_signal(signal.SIGINT)
    assert programs[0].lines(2) == {"finished ctl1", "finished ctl2"}
    words = "interrupted. finished: ctl1, ctl2; never started: ctl3, ctl4, ctl5, ctl6"
    assert programs[0].end() == words + "\n"
    assert programs[0].process.returncode == 130


def test_the_second_interrupt_breaks_running_hosts_off(server: Sshd, programs: list[Program]) -> None:
    programs.append(Program(PROGRAM, server.port, server.extras(), 60))
    assert programs[0].lines(2) == {"started ctl1", "started ctl2"}
    programs[0].process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        programs[0].process.wait(0.5)
    programs[0].process.send_signal(signal.SIGINT)
    words = "interrupted. broken off: ctl1, ctl2; never started: ctl3, ctl4, ctl5, ctl6"
    assert programs[0].end() == words + "\n"
    assert programs[0].process.returncode == 130


class Paused:
    """Two hosts with the product's agent, of which the first stands still in the midst of the only step of its own."""

    def __init__(self, start: Start, folder: Path, programs: list[Program]) -> None:
        self.states = {name: folder / f"{name}-state" for name in ("ctl1", "ctl2")}
        self.files = {name: folder / f"{name}.conf" for name in self.states}
        fault = {"ctl1": "HYBRIDMSG_FAULT=doing@0001=pause", "ctl2": ""}
        servers = {
            name: start(f"SetEnv SHLVL=5 HYBRIDMSG_STATE={state} {fault[name]}") for name, state in self.states.items()
        }
        hosts = {name: (server.port, server.extras()) for name, server in servers.items()}
        programs.append(Program(STEPS, hosts, {name: str(path) for name, path in self.files.items()}))
        self.process = programs[-1].process
        self.end = programs[-1].end
        until((self.states["ctl1"] / "paused").exists)

    def go_on(self) -> None:
        (self.states["ctl1"] / "paused").unlink()

    def statuses(self, host: str) -> list[str]:
        """Return what the host journaled of the run."""
        journal = self.states[host] / "runs" / "r1" / "journal.jsonl"
        return [json.loads(line)["status"] for line in journal.read_text().splitlines()] if journal.exists() else []


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds on a host, which tells nobody."""
    ends_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


@pytest.fixture
def paused(start: Start, tmp_path: Path, programs: list[Program]) -> Paused:
    return Paused(start, tmp_path, programs)


def test_the_first_interrupt_lets_the_step_in_hand_end_and_no_other_host_begin(paused: Paused) -> None:
    paused.process.send_signal(signal.SIGINT)
    paused.go_on()
    assert paused.end() == "interrupted. finished: ctl1; never started: ctl2 False\n"
    assert paused.statuses("ctl1") == ["doing", "done"]
    assert paused.files["ctl1"].read_text() == "new"
    assert (paused.statuses("ctl2"), paused.files["ctl2"].exists()) == ([], False)


def test_the_second_interrupt_waits_for_no_step_and_the_host_journals_its_end_all_the_same(paused: Paused) -> None:
    paused.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        paused.process.wait(0.5)
    paused.process.send_signal(signal.SIGINT)
    assert paused.end() == "interrupted. broken off: ctl1; never started: ctl2 True\n"
    assert paused.statuses("ctl1") == ["doing"]
    paused.go_on()
    until(lambda: paused.statuses("ctl1") == ["doing", "done"])
    assert (paused.statuses("ctl2"), paused.files["ctl2"].exists()) == ([], False)

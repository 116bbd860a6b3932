"""Ctrl-C in a program that is at work on real hosts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

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


class Program:
    """The program above, with its lines as they come."""

    def __init__(self, server: Sshd, seconds: float) -> None:
        root = Path(__file__).parents[2]
        arguments = [str(server.port), json.dumps(server.extras()), str(seconds)]
        argv = [sys.executable, "-c", textwrap.dedent(PROGRAM), *arguments]
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
    programs.append(Program(server, seconds=1))
    assert programs[0].lines(2) == {"started ctl1", "started ctl2"}
    programs[0].process.send_signal(signal.SIGINT)
    assert programs[0].lines(2) == {"finished ctl1", "finished ctl2"}
    words = "interrupted. finished: ctl1, ctl2; never started: ctl3, ctl4, ctl5, ctl6"
    assert programs[0].end() == words + "\n"
    assert programs[0].process.returncode == 130


def test_the_second_interrupt_breaks_running_hosts_off(server: Sshd, programs: list[Program]) -> None:
    programs.append(Program(server, seconds=60))
    assert programs[0].lines(2) == {"started ctl1", "started ctl2"}
    programs[0].process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        programs[0].process.wait(0.5)
    programs[0].process.send_signal(signal.SIGINT)
    words = "interrupted. broken off: ctl1, ctl2; never started: ctl3, ctl4, ctl5, ctl6"
    assert programs[0].end() == words + "\n"
    assert programs[0].process.returncode == 130

"""Progress on stderr: plain lines in a pipe, the same on a terminal, never a reason to fail."""

from __future__ import annotations

import io

import pytest
from nornir.core import Nornir
from nornir.core.inventory import Defaults, Groups, Host, Hosts, Inventory
from nornir.core.task import Task

from deployer.errors import Unreachable
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import DeadlineRunner

DOING = {"step": "s1", "status": "doing", "reason": "restarting nova-conductor"}
DONE = {**DOING, "status": "done"}
FAILED = {**DOING, "status": "failed"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def told(stream: io.StringIO, *events: dict[str, str]) -> str:
    progress = Progress(stream)
    for event in events:
        progress.step("ctl1", event)
    return stream.getvalue()


def test_a_pipe_gets_one_plain_line_for_each_step_done() -> None:
    assert told(io.StringIO(), DOING, DONE) == "ctl1: restarting nova-conductor (0.0 s)\n"


def test_a_failed_step_is_told_as_failed() -> None:
    assert told(io.StringIO(), DOING, FAILED) == "ctl1: failed: restarting nova-conductor (0.0 s)\n"


def test_a_step_without_a_reason_is_named_by_its_id() -> None:
    assert told(io.StringIO(), {"step": "s1", "status": "done"}) == "ctl1: s1\n"


def test_a_terminal_also_sees_the_beginning_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    begins, done = told(Terminal(), DOING, DONE).splitlines()
    assert "restarting nova-conductor ..." in begins
    assert begins.startswith("\x1b[2m")
    assert done == "ctl1: restarting nova-conductor (0.0 s)"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in told(Terminal(), DOING, FAILED)


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    progress = Progress(stream, quiet=True)
    progress.step("ctl1", DONE)
    progress.event("ctl1", "anything")
    assert not stream.getvalue()


def test_a_reader_that_has_gone_does_not_stop_the_run() -> None:
    Progress(ClosedPipe()).event("ctl1", "anything")


def test_a_hosts_failure_is_one_line_with_its_name_once() -> None:
    stream = io.StringIO()
    hosts = Hosts({"ctl1": Host("ctl1"), "ctl2": Host("ctl2")})
    inventory = Inventory(hosts=hosts, groups=Groups(), defaults=Defaults())

    def work(task: Task) -> None:
        if task.host.name == "ctl1":
            raise Unreachable("ctl1", "connection refused", "Check sshd")
        raise ValueError("odd")

    nornir = Nornir(inventory, runner=DeadlineRunner(num_workers=1)).with_processors([Progress(stream)])
    nornir.run(work)
    assert stream.getvalue() == "ctl1: connection refused. Check sshd\nctl2: odd\n"

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployer.agent import run as runner
from deployer.agent.errors import StepError
from deployer.agent.run import run
from tests.unit.agent.client import ROOT


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_finds_nothing_on_its_stdin_although_the_agent_has_something() -> None:
    agent = "from deployer.agent.run import run; print(repr(run(['cat'], 10).stdout))"
    done = subprocess.run([sys.executable, "-c", agent], input=b"frames", capture_output=True, check=True, cwd=ROOT)
    assert done.stdout == b"''\n"


def test_input_reaches_the_program() -> None:
    assert run(["cat"], 10, input=b"a\nb").stdout == "a\nb"


def test_a_program_that_never_reads_its_input_is_no_error() -> None:
    assert run(["true"], 10, input=b"x" * 1_000_000).ok


def test_the_deadline_kills_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TERM_GRACE", 0.2)
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/child; sleep 60' & wait; sleep 60"
    started = time.monotonic()
    done = run(["sh", "-c", script], 0.5)
    assert done.timed_out
    assert not done.ok
    assert done.returncode == -signal.SIGKILL
    assert time.monotonic() - started < 10
    assert not _alive(int((tmp_path / "child").read_text()))


def test_a_program_may_clean_up_at_the_deadline() -> None:
    done = run(["sh", "-c", "trap 'echo cleaned; exit 3' TERM; sleep 60 & wait"], 0.3)
    assert (done.stdout, done.returncode, done.timed_out) == ("cleaned\n", 3, True)


def test_a_daemon_left_behind_that_holds_the_pipes_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "DRAIN_GRACE", 0.1)
    started = time.monotonic()
    done = run(["sh", "-c", "sleep 60 & echo $!"], 30)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert time.monotonic() - started < 10


def test_of_endless_output_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "OUTPUT_LIMIT", 1000)
    done = run(["sh", "-c", "yes | head -c 500000; echo the end"], 30)
    assert len(done.stdout) == 1000
    assert done.stdout.endswith("the end\n")


def test_a_child_can_be_stopped_although_the_agent_ignores_the_signals() -> None:
    assert run(["sh", "-c", "kill -TERM $$"], 10).returncode == -signal.SIGTERM


def test_a_child_has_the_sbin_directories_and_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("LC_ALL", "de_DE")
    lines = run(["env"], 10).stdout.splitlines()
    assert "LC_ALL=C.UTF-8" in lines
    path = next(line for line in lines if line.startswith("PATH="))
    assert {"/usr/sbin", "/sbin"} <= set(path[5:].split(":"))


def test_a_missing_program_is_named() -> None:
    with pytest.raises(StepError, match="no-such-program cannot be started"):
        run(["no-such-program"], 10)


def test_a_failure_carries_the_output_without_the_passwords_of_urls() -> None:
    with pytest.raises(StepError) as caught:
        run(["sh", "-c", "echo rabbit://nova:s3cret@h:5672/ >&2; exit 7"], 10).check("it broke")
    frame = caught.value.frame()
    assert frame["problem"] == "it broke (exit code 7)"
    assert frame["output"] == "rabbit://nova:***@h:5672/"

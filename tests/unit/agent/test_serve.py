from __future__ import annotations

import select
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.errors import RefusedError
from deployer.agent.frames import FRAME_LIMIT, Decoder, encode
from deployer.agent.journal import Journal
from tests.unit.agent.client import Client, file_step, step
from tests.unit.agent.conftest import Programs

Start = Callable[..., Client]

# `systemctl restart` says that it began, then waits for leave to end.
SLOW_SYSTEMCTL = """
import pathlib, time
here = pathlib.Path(__file__).parent
if argv[0] == "show":
    print("Id=a.service\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\nMainPID=0")
if argv[0] == "restart":
    print("stray output" * 1000, flush=True)
    (here / "began").touch()
    while not (here / "leave").exists(): time.sleep(0.01)
"""


class SlowStep:
    """A step in hand: a unit's restart that ends when `finish` is called."""

    def __init__(self, programs: Programs) -> None:
        self._at = programs.directory
        programs.add("systemctl", SLOW_SYSTEMCTL)

    def await_begin(self) -> None:
        until = time.monotonic() + 20
        while not (self._at / "began").exists():
            assert time.monotonic() < until, "the step did not begin"
            time.sleep(0.01)

    def finish(self) -> None:
        (self._at / "leave").touch()


@pytest.fixture
def slow(programs: Programs) -> SlowStep:
    return SlowStep(programs)


def begin(agent: Client, slow: SlowStep, tmp_path: Path) -> None:
    agent.lock()
    steps = [step("unit.restart", "0001", unit="a.service", timeout=30), file_step(tmp_path / "b", b"x", "0002")]
    agent.tell("apply", run="r1", steps=steps)
    slow.await_begin()


def statuses(state: Path) -> list[tuple[str, str]]:
    return [(line["step"], line["status"]) for line in Journal(state, "r1").entries()]


def finished_the_step_in_hand_only(state: Path, tmp_path: Path) -> bool:
    return statuses(state) == [("0001", "doing"), ("0001", "done")] and not (tmp_path / "b").exists()


def test_end_of_file_lets_the_step_in_hand_end_and_begins_no_other(
    agent: Client, slow: SlowStep, state: Path, tmp_path: Path
) -> None:
    begin(agent, slow, tmp_path)
    agent.hang_up()
    slow.finish()
    assert agent.process.wait(10) == 0
    assert finished_the_step_in_hand_only(state, tmp_path)


def test_a_request_that_waited_is_not_begun_after_the_end(
    agent: Client, slow: SlowStep, programs: Programs, tmp_path: Path
) -> None:
    programs.add("python3")
    begin(agent, slow, tmp_path)
    interpreter = str(programs.directory / "python3")
    agent.tell("probe", interpreter=interpreter, user="", request={}, timeout=5)
    agent.hang_up()
    slow.finish()
    assert agent.process.wait(10) == 0
    assert programs.argvs("python3") == []


def test_the_frames_are_out_of_reach_of_print_and_of_children(agent: Client) -> None:
    agent.ask("history", run=None)
    streams = [Path(f"/proc/{agent.process.pid}/fd/{number}").readlink() for number in (0, 1)]
    assert streams == [Path("/dev/null")] * 2


def test_silence_ends_it_like_end_of_file(agents: Start, slow: SlowStep, state: Path, tmp_path: Path) -> None:
    agent = agents(silence=1.0)
    begin(agent, slow, tmp_path)
    time.sleep(1.3)  # the silence itself is what is waited for
    slow.finish()
    assert agent.process.wait(10) == 0
    assert finished_the_step_in_hand_only(state, tmp_path)


def test_an_idle_agent_ends_after_the_silence(agents: Start) -> None:
    started = time.monotonic()
    assert agents(silence=0.3).process.wait(10) == 0
    assert time.monotonic() - started >= 0.3


def test_heartbeats_keep_it_and_get_no_answer(agents: Start) -> None:
    agent = agents(silence=1.0)
    for _ in range(5):
        agent.tell("ping", number=0)
        time.sleep(0.3)  # five pings span more than the silence allowed
    assert agent.ask("history", run=None)["runs"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_waits_for_the_step_in_hand(
    agent: Client, slow: SlowStep, state: Path, tmp_path: Path, number: signal.Signals
) -> None:
    begin(agent, slow, tmp_path)
    agent.process.send_signal(number)
    slow.finish()
    assert agent.process.wait(10) == 0
    assert finished_the_step_in_hand_only(state, tmp_path)


def test_a_closed_stdout_breaks_no_step(agent: Client, slow: SlowStep, state: Path, tmp_path: Path) -> None:
    begin(agent, slow, tmp_path)
    assert agent.process.stdout is not None
    agent.process.stdout.close()
    slow.finish()
    until = time.monotonic() + 10
    while ("0002", "done") not in statuses(state) and time.monotonic() < until:
        time.sleep(0.01)
    assert statuses(state) == [(number, status) for number in ("0001", "0002") for status in ("doing", "done")]


def test_a_controller_that_takes_nothing_and_dies_holds_nobody(agent: Client, tmp_path: Path) -> None:
    big = tmp_path / "big.conf"
    big.write_bytes(b"x" * 4_000_000)
    agent.tell("facts", files={str(big): None})
    assert agent.process.stdout is not None
    assert select.select([agent.process.stdout], [], [], 10)[0], "the answer did not begin"
    agent.hang_up()
    assert agent.process.wait(10) == 0


def test_stray_output_of_a_child_does_not_corrupt_the_frames(agent: Client, slow: SlowStep, tmp_path: Path) -> None:
    slow.finish()
    agent.lock()
    answer = agent.ask("apply", run="r1", steps=[step("unit.restart", unit="a.service", timeout=30)])
    assert answer["results"][0]["changed"]
    assert [event["status"] for event in agent.events] == ["doing", "done"]


def test_a_child_finds_nothing_on_stdin_although_requests_wait_there(agent: Client, programs: Programs) -> None:
    programs.add("systemctl", 'print("Id=a.service\\nActiveState=active")')
    agent.tell("facts", units=["a.service"])
    agent.tell("history", number=2, run=None)
    assert [agent.frame()["id"], agent.frame()["id"]] == [1, 2]
    assert {call["stdin"] for call in programs.calls} == {""}


def test_events_tell_the_reason_and_a_failure_its_problem(agent: Client, tmp_path: Path) -> None:
    agent.lock()
    bad = file_step(tmp_path / "x", b"", "0002", user="nobody-here")
    error = agent.ask("apply", run="r1", steps=[file_step(tmp_path / "a", b"x"), bad])["error"]
    assert (error["type"], error["step"]) == ("refused", "0002")
    assert [(event["step"], event["status"]) for event in agent.events] == [
        ("0001", "doing"),
        ("0001", "done"),
        ("0002", "doing"),
        ("0002", "failed"),
    ]
    assert agent.events[0]["reason"] == "because"
    assert "nobody-here" in agent.events[-1]["reason"]


def test_one_stale_file_stops_all_steps(agent: Client, tmp_path: Path) -> None:
    agent.lock()
    stale = file_step(tmp_path / "b", b"x", "0002", preimage={"sha256": "0" * 64})
    error = agent.ask("apply", run="r1", steps=[file_step(tmp_path / "a", b"x"), stale])["error"]
    assert (error["type"], error["step"]) == ("stale", "0002")
    assert agent.events == []
    assert not (tmp_path / "a").exists()


def test_apply_and_undo_end_to_end(agent: Client, tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_bytes(b"old")
    agent.lock()
    assert agent.ask("apply", run="r1", steps=[file_step(conf, b"new")])["results"][0]["changed"]
    assert conf.read_bytes() == b"new"
    assert agent.ask("undo", run="r1", steps=["0001"], force=False)["results"][0]["changed"]
    assert conf.read_bytes() == b"old"
    (run,) = agent.ask("history", run="r1")["runs"]
    assert [entry["status"] for entry in run["entries"]] == ["doing", "done", "undoing", "undone"]


def test_an_undo_of_an_unknown_run_leaves_no_trace(agent: Client, state: Path) -> None:
    agent.lock()
    assert agent.ask("undo", run="r9", steps=None, force=False)["error"]["type"] == "refused"
    assert [path.name for path in state.iterdir()] == ["lock"]


def test_an_unknown_op_is_refused_and_the_next_request_served(agent: Client) -> None:
    assert agent.ask("format")["error"]["type"] == "refused"
    assert agent.ask("history", run=None)["runs"] == []


def test_a_request_without_its_arguments_is_answered_without_quoting_it(agent: Client) -> None:
    error = agent.ask("probe", user="s3cret")["error"]
    assert error["type"] == "internal"
    assert "s3cret" not in str(error)


def test_noise_instead_of_frames_ends_it(agent: Client) -> None:
    assert agent.process.stdin is not None
    agent.process.stdin.write(b"GET / HTTP/1.1\r\n\r\n")
    agent.process.stdin.flush()
    assert agent.process.wait(10) == 0


def test_frames_survive_any_cutting() -> None:
    messages: list[dict[str, Any]] = [{"id": 1, "text": "grün"}, {"id": 2}]
    stream = b"".join(encode(message) for message in messages)
    decoder = Decoder()
    assert [found for byte in stream for found in decoder.feed(bytes([byte]))] == messages
    assert list(Decoder().feed(stream)) == messages


@pytest.mark.parametrize("noise", [struct.pack(">I", FRAME_LIMIT + 1), b"\0\0\0\1x", b"\0\0\0\2[]"])
def test_what_is_no_frame_is_refused(noise: bytes) -> None:
    with pytest.raises(RefusedError):
        list(Decoder().feed(noise))

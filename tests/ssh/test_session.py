"""Requests, events and answers over one channel, and every way that can end."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import paramiko
import pytest

from deployer.errors import ConnectionLost, DeadlineExceeded, HostError, Locked, StalePlan, StepFailed
from deployer.nornir_plugins import fast_socket
from deployer.nornir_plugins.dial import dial
from deployer.nornir_plugins.session import AgentSession
from deployer.nornir_plugins.target import Target
from tests.ssh import peer, sshd
from tests.ssh.conftest import Open, Start
from tests.ssh.sshd import Sshd

FAR = 60.0
"""Seconds that no test takes."""


@pytest.fixture
def session(server: Sshd, connect: Open, monkeypatch: pytest.MonkeyPatch) -> AgentSession:
    """A session whose agent is the small one of peer.py."""
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", peer.bundle)
    return connect(server).connection


def test_no_agent_is_started_before_the_first_request(session: AgentSession, server: Sshd) -> None:
    before = server.log.count("Starting session: command")
    assert session.alive
    assert server.log.count("Starting session: command") == before
    session.request("echo", {}, deadline=10)
    assert server.log.count("Starting session: command") == before + 1


def test_ten_requests_are_answered_by_one_process(session: AgentSession) -> None:
    answers = [session.request("where", {}, deadline=10) for _ in range(10)]
    assert len({answer["pid"] for answer in answers}) == 1
    assert session.round_trips == 10


def test_the_agent_runs_from_memory_and_its_children_cannot_touch_the_frames(session: AgentSession) -> None:
    where = session.request("where", {}, deadline=10)
    assert where["file"].startswith("/proc/self/fd/")
    assert where["stdin"] == "/dev/null"


def test_what_is_asked_is_not_on_a_command_line(session: AgentSession) -> None:
    session.request("echo", {"password": "canary-1234"}, deadline=10)
    pid = session.request("where", {}, deadline=10)["pid"]
    assert b"canary-1234" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_five_megabytes_go_out_and_come_back(session: AgentSession) -> None:
    text = "ä" * 2_500_000
    assert session.request("echo", {"text": text}, deadline=60) == {"text": text}


def test_events_come_in_order_before_the_answer(session: AgentSession) -> None:
    seen: list[int] = []
    session.request("events", {"count": 500}, deadline=10, on_event=lambda event: seen.append(event["count"]))
    assert seen == list(range(500))


def test_events_nobody_asked_for_are_dropped(session: AgentSession) -> None:
    assert session.request("events", {"count": 3}, deadline=10) == {}


FAILURES: list[tuple[dict[str, Any], type[HostError], str]] = [
    (
        {"type": "locked", "holder": {"who": "ann", "when": "now", "run": "r1"}},
        Locked,
        "locked by ann since now (run r1)",
    ),
    ({"type": "stale", "problem": "/etc/nova/nova.conf changed", "remedy": "Plan again"}, StalePlan, "Plan again"),
    (
        {"type": "step", "step": "s1", "problem": "exit status 1", "output": "E: no such package", "remedy": ""},
        StepFailed,
        "step s1 failed: exit status 1\nE: no such package",
    ),
    ({"type": "refused", "problem": "no lock", "remedy": "Lock first"}, HostError, "no lock. Lock first"),
    ({"type": "internal", "problem": "KeyError in facts.py:3"}, HostError, "KeyError in facts.py:3"),
]


@pytest.mark.parametrize(("frame", "kind", "words"), FAILURES, ids=[frame["type"] for frame, _, _ in FAILURES])
def test_an_error_frame_becomes_its_exception(
    session: AgentSession, frame: dict[str, Any], kind: type[HostError], words: str
) -> None:
    session.host = "ctl1"
    with pytest.raises(HostError) as failed:
        session.request("fail", frame, deadline=10)
    assert type(failed.value) is kind
    assert str(failed.value).startswith("ctl1: ")
    assert words in str(failed.value)
    assert session.alive, "a refusal does not end the session"


def test_an_agent_that_dies_is_a_lost_connection_with_its_last_words(session: AgentSession) -> None:
    with pytest.raises(ConnectionLost, match=r"before die was answered \(killed by the test\)"):
        session.request("die", {}, deadline=10)
    assert not session.alive


def test_an_agent_killed_in_the_middle_is_noticed_at_once(session: AgentSession) -> None:
    pid = session.request("where", {}, deadline=10)["pid"]
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    began = time.monotonic()
    with pytest.raises(ConnectionLost):
        session.request("late", {"seconds": 30}, deadline=30)
    assert time.monotonic() - began < 5


def test_a_connection_cut_in_the_middle_is_noticed_at_once(
    session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.request("echo", {}, deadline=10)
    cutter = threading.Timer(0.3, session.close)
    cutter.start()
    began = time.monotonic()
    with pytest.raises(ConnectionLost):
        session.request("late", {"seconds": 30}, deadline=30)
    assert time.monotonic() - began < 5


def test_bytes_that_are_no_frames_end_the_session_with_a_reason(session: AgentSession) -> None:
    with pytest.raises(ConnectionLost, match="something else than the agent"):
        session.request("garbage", {}, deadline=10)
    assert not session.alive


def test_no_answer_in_time_is_a_deadline_and_the_late_answer_is_dropped(session: AgentSession) -> None:
    session.request("echo", {}, deadline=10)
    with pytest.raises(DeadlineExceeded, match=r"no answer to late within 0\.2 s"):
        session.request("late", {"seconds": 0.6}, deadline=0.2)
    assert session.request("late", {"seconds": 0.3}, deadline=10) == {"seconds": 0.3}


def test_a_stopped_agent_runs_into_the_deadline(session: AgentSession) -> None:
    pid = session.request("where", {}, deadline=10)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeadlineExceeded):
            session.request("echo", {"text": "x" * 8_000_000}, deadline=0.5)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_host_whose_sshd_stands_still_is_lost_and_not_waited_for(
    start: Start, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", peer.bundle)
    server = start()
    session = connect(server).connection
    session.request("echo", {}, deadline=10)
    serving = server.serving()
    # What ends the wait is the connection's end alone: on a slow machine the request's own deadline may not be first.
    monkeypatch.setattr("deployer.nornir_plugins.watchdog.GRACE", 1 - FAR)
    for pid in serving:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(ConnectionLost):
            session.request("echo", {"text": "x" * 64_000_000}, deadline=FAR)
    finally:
        for pid in serving:
            os.kill(pid, signal.SIGKILL)
    assert time.monotonic() - began < FAR / 2


def test_a_request_does_not_wait_for_ever_for_one_that_was_given_up(session: AgentSession) -> None:
    session.request("echo", {}, deadline=10)
    first = threading.Thread(target=session.request, args=("late", {"seconds": 1}), kwargs={"deadline": 10})
    first.start()
    with pytest.raises(DeadlineExceeded, match="no answer to echo"):
        session.request("echo", {}, deadline=0.2)
    first.join()


def test_a_connection_gives_up_a_host_that_acknowledges_nothing_any_more(server: Sshd) -> None:
    with fast_socket.connect("127.0.0.1", server.port, 5, silence=20) as connected:
        patience = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert patience == 20_000


def test_an_idle_agent_hears_that_its_controller_lives(server: Sshd) -> None:
    transport = login(server)
    session = AgentSession(transport, host="ctl1", bundle=peer.bundle(), silence=0.2)
    assert session.request("three_pings", {}, deadline=10) == {"pings": 3}
    session.close()


def test_the_inventorys_silence_is_the_patience_of_both_ends(
    server: Sshd, connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", peer.bundle)
    opened: list[float] = []
    real = fast_socket.connect

    def connecting(host: str, port: int, timeout: float, silence: float) -> fast_socket.FastSocket:
        opened.append(silence)
        return real(host, port, timeout, silence)

    monkeypatch.setattr("deployer.nornir_plugins.fast_socket.connect", connecting)
    session = connect(server, silence=17).connection
    assert session.request("where", {}, deadline=10)["silence"] == 17
    assert opened == [17]


def test_closing_an_idle_session_leaves_no_agent_behind(session: AgentSession) -> None:
    pid = session.request("where", {}, deadline=10)["pid"]
    session.close()
    assert not Path(f"/proc/{pid}").exists()
    assert not session.alive


def test_a_child_that_keeps_the_streams_open_does_not_hide_the_agents_death(server: Sshd, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    serve = f"""
import subprocess
def serve(i, o, silence):
    child = subprocess.Popen(["sleep", "30"], stdin=subprocess.DEVNULL)
    open("{pid}", "w").write(str(child.pid))
"""
    session = AgentSession(login(server), host="ctl1", bundle=peer.bundle(serve))
    began = time.monotonic()
    try:
        with pytest.raises(ConnectionLost):
            session.request("echo", {}, deadline=20)
        assert time.monotonic() - began < 10
    finally:
        session.close()
        os.kill(int(pid.read_text()), signal.SIGTERM)


def login(server: Sshd) -> paramiko.Transport:
    """Return a transport of one's own."""
    target = Target("127.0.0.1", server.port, sshd.USER, str(server.client_key), str(server.known_hosts))
    return dial(target)

"""The whole way: Nornir, its runner, the connection, the product's own agent and its answers."""

from __future__ import annotations

import io
import platform
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from nornir.core.task import Result, Task

from deployer.errors import DeadlineExceeded, HostError, HostKeyRejected, Unreachable
from deployer.nornir_plugins.processor import Progress
from deployer.nornir_plugins.runner import DeadlineRunner
from tasks.session import agent, ask
from tests.ssh import peer, sshd
from tests.ssh.conftest import Start
from tests.ssh.sshd import Sshd

QUESTION: dict[str, Any] = {"files": {}, "units": [], "packages": [], "programs": [], "rabbitmq": False}


def facts(task: Task, files: dict[str, None] | None = None) -> Result:
    """Ask the product's agent."""
    return Result(task.host, result=ask(task, "facts", {**QUESTION, "files": files or {}}, deadline=60))


def test_the_products_agent_answers_over_ssh(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "nova.conf"
    config.write_text("[DEFAULT]\ntransport_url = rabbit://\n")
    nornir = sshd.nornir_over({"ctl1": (server.port, server.extras())})
    with nornir:
        answer = nornir.run(facts, files={str(config): None, "/nowhere": None})["ctl1"][0].result
    assert answer["host"]["hostname"] == socket.gethostname()
    assert answer["host"]["python"].startswith(platform.python_version().rsplit(".", 1)[0])
    assert answer["files"]["/nowhere"] == {"exists": False}
    assert stat.S_IMODE(answer["files"][str(config)]["mode"]) == stat.S_IMODE(config.stat().st_mode)


def test_a_five_megabyte_file_comes_over_whole(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 5_000_000)
    nornir = sshd.nornir_over({"ctl1": (server.port, server.extras())})
    with nornir:
        answer = nornir.run(facts, files={str(tmp_path / "big"): None})["ctl1"][0].result
    assert answer["files"][str(tmp_path / "big")]["size"] == 5_000_000


def test_a_host_has_one_connection_and_one_agent_for_all_its_tasks(start: Start) -> None:
    server = start()
    known = server.extras()
    nornir = sshd.nornir_over(dict.fromkeys(("ctl1", "ctl2", "ctl3"), (server.port, known)))
    with nornir:
        for _ in range(4):
            assert not nornir.run(facts).failed
        sessions = [host.get_connection("hybridmsg_ssh", nornir.config) for host in nornir.inventory.hosts.values()]
        assert [session.round_trips for session in sessions] == [4, 4, 4]
    assert server.log.count("Connection from") == 3
    assert server.log.count("Starting session: command") == 3


def test_errors_carry_the_inventory_name_and_the_address(start: Start, tmp_path: Path) -> None:
    server, port = start(), sshd.free_port()
    (tmp_path / "empty").touch()
    hosts = {
        "down": (port, server.extras()),
        "strange": (server.port, server.extras(known_hosts=str(tmp_path / "empty"))),
        "fine": (server.port, server.extras()),
    }
    nornir = sshd.nornir_over(hosts)
    with nornir:
        result = nornir.run(facts)
    assert not result["fine"].failed
    down, strange = result["down"][0].exception, result["strange"][0].exception
    assert type(down) is Unreachable
    assert str(down).startswith(f"down: connection refused (127.0.0.1:{port}). ")
    assert type(strange) is HostKeyRejected
    assert str(strange).startswith("strange: host key is unknown")


def test_a_lost_session_is_opened_anew_for_the_next_task(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", peer.bundle)
    nornir = sshd.nornir_over({"ctl1": (server.port, server.extras())})

    def die(task: Task) -> None:
        ask(task, "die", {}, deadline=10)

    def echo(task: Task) -> dict[str, Any]:
        return ask(task, "echo", {"back": True}, deadline=10)

    with nornir:
        assert nornir.run(die).failed
        nornir.data.reset_failed_hosts()
        assert nornir.run(echo)["ctl1"][0].result == {"back": True}


def test_an_answer_with_an_error_names_the_host(server: Sshd) -> None:
    nornir = sshd.nornir_over({"ctl1": (server.port, server.extras())})

    def no_such(task: Task) -> None:
        ask(task, "no_such_op", {}, deadline=10)

    with nornir:
        error = nornir.run(no_such)["ctl1"][0].exception
    assert type(error) is HostError
    assert str(error).startswith("ctl1: ")


def test_step_events_reach_the_progress(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = """
import json, os, struct
def serve(i, o, silence):
    def say(message):
        body = json.dumps(message).encode()
        os.write(o, struct.pack(">I", len(body)) + body)
    for status in ("doing", "done"):
        say({"id": 1, "event": {"step": "s1", "status": status, "reason": "restarting nova-conductor"}})
    say({"id": 1, "ok": {}})
    os.read(i, 65536), os.read(i, 1)
"""
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", lambda: peer.bundle(serve))
    out = io.StringIO()
    nornir = sshd.nornir_over({"ctl1": (server.port, server.extras())}).with_processors([Progress(out)])

    def apply(task: Task) -> None:
        ask(task, "apply", {}, deadline=10)

    with nornir:
        assert not nornir.run(apply).failed
    assert out.getvalue() == "ctl1: restarting nova-conductor (0.0 s)\n"


def test_hosts_late_for_the_runs_deadline_fail_and_their_sessions_end(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", peer.bundle)
    hosts = {name: (server.port, server.extras()) for name in ("fast", "slow")}
    nornir = sshd.nornir_over(hosts, DeadlineRunner(deadline=2))
    after: list[Exception] = []

    def work(task: Task) -> None:
        try:
            if task.host.name == "slow":
                ask(task, "late", {"seconds": 60}, deadline=60)
        except HostError as error:
            after.append(error)
            agent(task)

    result = nornir.run(work)
    assert not result["fast"].failed
    assert type(result["slow"][0].exception) is DeadlineExceeded
    assert "slow: not done within 2 s" in str(result["slow"][0].exception)

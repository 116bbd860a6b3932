from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deployer.agent import probe
from deployer.agent.errors import RefusedError
from deployer.agent.types import Json

# A probe that tells how it was started; the real one needs a bus.
STAND_IN = b"""
import json, os, sys
request = json.loads(sys.stdin.buffer.read())
print("a library's noise")
if request.get("die"): sys.exit("amqp://nova:s3cret@h: " + request["die"])
if request.get("hang"): __import__("time").sleep(60)
seen = {"request": request, "uid": os.getuid(), "groups": os.getgroups(), "cwd": os.getcwd(), "argv": sys.argv,
        "home": os.environ["HOME"], "cmdline": open("/proc/self/cmdline").read()}
print("hybridmsg-probe " + json.dumps(seen))
print("more noise at the exit")
"""


real_program = probe.program


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "program", lambda _name: STAND_IN)


def ask(request: Json, user: str = "", timeout: float = 20, interpreter: str = "/usr/bin/python3") -> Json:
    return probe.probe(interpreter, user, request, timeout)


def test_the_real_program_marks_its_answer_as_it_is_looked_for() -> None:
    assert f'"{probe.ANSWER_MARK}"' in real_program().decode()


def test_the_answer_is_found_among_the_libraries_noise() -> None:
    assert ask({"ping": "grün"})["request"] == {"ping": "grün"}


def test_neither_program_nor_request_is_on_the_command_line() -> None:
    seen = ask({"url": "amqp://nova:s3cret@h"})
    assert "s3cret" not in seen["cmdline"]
    assert "noise" not in seen["cmdline"]


def test_it_runs_in_the_root_directory_without_a_home() -> None:
    seen = ask({})
    assert (seen["cwd"], seen["home"]) == ("/", "/nonexistent")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_runs_as_the_user_with_the_users_groups_only() -> None:
    seen = ask({}, "daemon")
    assert (seen["uid"], seen["groups"]) == (1, [1])


def test_its_failure_is_told_by_its_stderr_without_passwords() -> None:
    with pytest.raises(RefusedError, match=r"ended with code 1 and gave no answer") as caught:
        ask({"die": "no route"})
    assert "amqp://nova:***@h: no route" in caught.value.frame()["stderr"]


def test_a_hanging_probe_is_ended() -> None:
    with pytest.raises(RefusedError, match=r"did not end within 0\.5 s"):
        ask({"hang": True}, timeout=0.5)


@pytest.mark.parametrize("interpreter", ["python3", "/no/such/python3"])
def test_what_is_no_interpreter_is_refused(interpreter: str) -> None:
    with pytest.raises(RefusedError, match="not an interpreter"):
        ask({}, interpreter=interpreter)


def test_a_broken_interpreter_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/no/such/interpreter")
    broken.chmod(0o755)
    with pytest.raises(RefusedError, match="cannot be started"):
        ask({}, interpreter=str(broken))


def test_an_unknown_user_is_refused() -> None:
    with pytest.raises(RefusedError, match="no user 'nobody-here'"):
        ask({}, "nobody-here")


def test_a_venvs_python_stays_in_its_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        probe,
        "program",
        lambda _name: b"import json, sys\nprint('hybridmsg-probe', json.dumps({'prefix': sys.prefix}))",
    )
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python3").symlink_to(os.path.realpath(sys.executable))
    (venv / "pyvenv.cfg").write_text(f"home = {Path(os.path.realpath(sys.executable)).parent}\n")
    assert ask({}, interpreter=str(venv / "bin" / "python3")) == {"prefix": str(venv)}

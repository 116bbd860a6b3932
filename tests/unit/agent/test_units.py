from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import interpreters, units
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.kinds import prepare
from deployer.agent.run import Completed, run
from deployer.agent.steps import parse
from tests.unit.agent.client import step
from tests.unit.agent.conftest import Programs

Daemon = Callable[..., int]


def block(unit: str, **more: object) -> str:
    known: dict[str, object] = {"Id": unit, "Names": unit, "LoadState": "loaded", "ActiveState": "active"}
    known |= {"UnitFileState": "enabled", "MainPID": 0, "NeedDaemonReload": "no", **more}
    return "\n".join(f"{key}={value}" for key, value in known.items())


def systemd(programs: Programs, *blocks: str, otherwise: str = "") -> None:
    text = "\n\n".join(blocks)
    programs.add("systemctl", f"if argv[0] == 'show': print({text!r}); sys.exit(0)\n{otherwise}")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Start a sleeping process with the argv given; returns its PID once it is that program."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, program: str = "", **options: Any) -> int:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(program.encode())
        process.stdin.close()
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


SLEEP = "import time; print(flush=True); time.sleep(60)"


def test_all_units_are_asked_in_one_call(programs: Programs) -> None:
    missing = "Id=b.service\nNames=b.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nMainPID=0"
    systemd(programs, block("a.service"), missing)
    facts = units.facts(["a", "b.service"])
    assert len(programs.calls) == 1
    assert facts["a"] == {
        "load": "loaded",
        "active": "active",
        "enabled": "enabled",
        "user": "",
        "interpreter": None,
        "argv": [],
        "started": None,
        "environment": [],
        "config": None,
    }
    assert facts["b.service"]["load"] == "not-found"


def test_an_alias_is_found_under_the_name_asked_for(programs: Programs) -> None:
    systemd(programs, block("ssh.service", Names="ssh.service sshd.service"))
    assert units.facts(["sshd"])["sshd"]["load"] == "loaded"


def test_no_unit_asked_is_no_call(programs: Programs) -> None:
    systemd(programs)
    assert units.facts([]) == {}
    assert programs.calls == []


def test_a_host_without_systemd_is_refused(programs: Programs) -> None:
    programs.add("systemctl", "print('System has not been booted with systemd', file=sys.stderr); sys.exit(1)")
    with pytest.raises(RefusedError, match="not been booted"):
        units.facts(["a"])


def test_the_interpreter_is_the_venvs_own_python(programs: Programs, daemon: Daemon, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(os.path.realpath(sys.executable))
    program = tmp_path / "nova-conductor"
    program.write_text(f"#!{python}\n{SLEEP}\n")
    program.chmod(0o755)
    pid = daemon(str(program), "--config-file", "/etc/nova/nova.conf")
    systemd(programs, block("nova.service", MainPID=pid))
    facts = units.facts(["nova"])["nova"]
    assert facts["interpreter"] == str(python)
    assert facts["argv"] == [str(python), str(program), "--config-file", "/etc/nova/nova.conf"]


def test_the_start_of_a_process_is_told_in_seconds_since_the_epoch(
    programs: Programs, daemon: Daemon, tmp_path: Path
) -> None:
    program = tmp_path / "daemon"
    program.write_text(f"#!{sys.executable}\n{SLEEP}\n")
    program.chmod(0o755)
    tick = 0.02
    before = time.time()
    pid = daemon(str(program))
    systemd(programs, block("nova.service", MainPID=pid))
    assert before - tick <= units.facts(["nova"])["nova"]["started"] <= time.time() + tick


def test_a_bare_python_is_found_on_path(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("python3", "-c", SLEEP, executable=sys.executable)
    systemd(programs, block("nova.service", MainPID=pid))
    assert units.facts(["nova"])["nova"]["interpreter"] == shutil.which("python3")


def test_a_process_that_rewrote_its_title_is_known_by_its_program(
    programs: Programs, daemon: Daemon, tmp_path: Path
) -> None:
    program = tmp_path / "neutron-server"
    program.write_text("#!/openstack/venvs/neutron/bin/python3\n")
    pid = daemon("neutron-server: master process", "-c", SLEEP, executable=sys.executable)
    started = f"{{ path={program} ; argv[]={program} ; ignore_errors=no }}"
    systemd(programs, block("neutron.service", MainPID=pid, ExecStart=started))
    assert units.facts(["neutron"])["neutron"]["interpreter"] == "/openstack/venvs/neutron/bin/python3"


def test_a_cotyledon_service_is_read_out_of_its_title(programs: Programs, daemon: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "ceilometer-agent-notification"
    program.write_text("#!/openstack/venvs/ceilometer/bin/python3\n")
    title = f"ceilometer-agent-notification: master process [{program} --config-file=/etc/c.conf]"
    pid = daemon(title, executable=sys.executable, program=SLEEP)
    systemd(programs, block("ceilometer.service", MainPID=pid))
    facts = units.facts(["ceilometer"])["ceilometer"]
    assert facts["argv"] == [str(program), "--config-file=/etc/c.conf"]
    assert facts["interpreter"] == "/openstack/venvs/ceilometer/bin/python3"


def test_behind_an_init_script_the_process_itself_tells(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("heat-engine: worker", "-c", SLEEP, executable=os.path.realpath(sys.executable))
    systemd(programs, block("heat.service", MainPID=pid, ExecStart="{ path=/etc/init.d/x ; argv[]=x }"))
    assert units.facts(["heat"])["heat"]["interpreter"] == os.path.realpath(sys.executable)


def test_a_program_without_python_has_no_interpreter(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("sh", "-c", "echo; exec sleep 60")
    systemd(programs, block("a.service", MainPID=pid))
    assert units.facts(["a"])["a"]["interpreter"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_user_is_the_main_processs_owner(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("sh", "-c", "echo; exec sleep 60", user=1)
    systemd(programs, block("a.service", MainPID=pid))
    assert units.facts(["a"])["a"]["user"] == "daemon"


def test_a_process_that_just_ended_is_no_error(programs: Programs) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    systemd(programs, block("a.service", MainPID=ended.pid))
    facts = units.facts(["a"])["a"]
    assert (facts["user"], facts["interpreter"], facts["argv"]) == ("", None, [])


def test_variables_that_override_files_are_named_without_their_values(programs: Programs, daemon: Daemon) -> None:
    environment = {"OS_DEFAULT__TRANSPORT_URL": "rabbit://nova:s3cret@h", "OS_CLOUD": "x", "MY_OS_A__B": "1"}
    pid = daemon("sh", "-c", "echo; exec sleep 60", env=environment)
    systemd(programs, block("a.service", MainPID=pid))
    assert units.facts(["a"])["a"]["environment"] == ["OS_DEFAULT__TRANSPORT_URL"]


def test_a_rewritten_title_hides_no_variable_that_systemd_sets(programs: Programs, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("OS_DEFAULT__RPC_BACKEND=x\n# OS_DEFAULT__NO=x\n; OS_DEFAULT__NOR=x\n")
    second.write_text("export OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL='x y'\n")
    told = f"EnvironmentFiles={first} (ignore_errors=no)\nEnvironmentFiles={second} (ignore_errors=yes)"
    told += f"\nEnvironmentFiles={tmp_path}/absent (ignore_errors=yes)"
    systemd(programs, f"{block('a.service', Environment='A=1 OS_DEFAULT__TRANSPORT_URL=x')}\n{told}")
    assert units.facts(["a"])["a"]["environment"] == [
        "OS_DEFAULT__RPC_BACKEND",
        "OS_DEFAULT__TRANSPORT_URL",
        "OS_OSLO_MESSAGING_NOTIFICATIONS__TRANSPORT_URL",
    ]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"#!/usr/bin/python3 -I\n", "/usr/bin/python3"),
        (b"#! /opt/v/bin/python\n", "/opt/v/bin/python"),
        (b"#!/usr/bin/env sh\n", shutil.which("sh")),
        (b"\x7fELF", None),
        (b"#!\n", None),
    ],
)
def test_a_programs_interpreter_is_on_its_first_line(tmp_path: Path, first: bytes, expected: str | None) -> None:
    program = tmp_path / "program"
    program.write_bytes(first)
    assert interpreters.shebang(str(program)) == expected
    assert interpreters.shebang(str(tmp_path / "absent")) is None


def act(kind: str, unit: str = "a.service", timeout: float = 10) -> bool:
    return prepare(parse(step(kind, unit=unit, timeout=timeout))).act().changed


def test_changed_unit_files_are_read_before_a_restart(programs: Programs) -> None:
    systemd(programs, block("a.service", NeedDaemonReload="yes"))
    assert act("unit.restart")
    verbs = [argv[0] for argv in programs.argvs("systemctl")]
    assert verbs.index("daemon-reload") < verbs.index("restart")


def test_many_restarts_do_not_hit_the_start_limit(programs: Programs) -> None:
    systemd(programs, block("a.service"))
    assert act("unit.restart")
    verbs = [argv[0] for argv in programs.argvs("systemctl")]
    assert verbs.index("reset-failed") < verbs.index("restart")


def test_a_failed_start_carries_the_units_own_words_without_passwords(programs: Programs) -> None:
    systemd(programs, block("a.service", ActiveState="inactive"), otherwise="sys.exit(argv[0] == 'start')")
    programs.add("journalctl", "print('cannot reach amqp://nova:s3cret@10.0.0.1:5672')")
    with pytest.raises(StepError, match=r"systemctl start a\.service failed \(exit code 1\)") as caught:
        act("unit.start")
    assert caught.value.frame()["output"] == "cannot reach amqp://nova:***@10.0.0.1:5672"


def test_a_unit_that_does_not_come_up_in_time_is_a_failure(programs: Programs) -> None:
    slow = "import time\nif argv[0] == 'restart': time.sleep(60)"
    systemd(programs, block("a.service"), otherwise=slow)
    programs.add("journalctl")
    with pytest.raises(StepError, match=r"not within 0\.5 s"):
        act("unit.restart", timeout=0.5)


@pytest.mark.parametrize(
    ("told", "step", "seconds"),
    [
        ("1min 30s", 10, 100),
        ("5min", 120, 310),
        ("1.500s", 0.5, 11.5),
        ("30s", 120, 120),
        ("1h 30min", 120, 600),
        ("1month 2w", 120, 600),
        ("1h", 900, 900),
        ("infinity", 5, 5),
        ("", 5, 5),
    ],
)
def test_a_stop_waits_as_long_as_the_unit_may_take_and_never_for_ever(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, told: str, step: float, seconds: float
) -> None:
    systemd(programs, block("a.service", TimeoutStopUSec=told))
    waited = {}

    def noting(argv: Sequence[str], timeout: float) -> Completed:
        waited[argv[1]] = timeout
        return run(argv, timeout)

    monkeypatch.setattr(units, "run", noting)
    units.control("stop", "a.service", step)
    assert waited["stop"] == pytest.approx(seconds)


def test_a_stop_outlasts_a_step_that_is_shorter_than_the_units_own_time(programs: Programs) -> None:
    slow = "import time\nif argv[0] == 'stop': time.sleep(1)"
    systemd(programs, block("a.service", TimeoutStopUSec="30s"), otherwise=slow)
    assert act("unit.stop", timeout=0.2)

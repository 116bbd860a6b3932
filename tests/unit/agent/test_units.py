from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployer.agent import units
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.kinds import prepare
from deployer.agent.run import Completed, run
from deployer.agent.steps import parse
from tests.unit.agent.client import step
from tests.unit.agent.conftest import Programs
from tests.unit.agent.running import SLEEP, Daemon, block, systemd


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
        "invocation": "",
        "restarts": 0,
        "environment": [],
        "threads": 1,
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

"""The tasks as a script of one's own uses them, over real SSH with the product's own agent."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from nornir.core import Nornir
from nornir.core.task import Result
from nornir_utils.plugins.functions import print_result

from deployer.errors import Locked, StalePlan, StepFailed
from deployer.model.secrets import Blob
from deployer.plan.query import query
from deployer.plan.steps import Intent, Step
from tasks.facts import read_facts
from tasks.files import write_file
from tasks.journal import read_history
from tasks.steps import apply_own, apply_steps, lock_host, undo_steps
from tests.ssh import sshd
from tests.ssh.conftest import Start
from tests.ssh.sshd import Sshd

BEFORE = b"[DEFAULT]\npassword = canary-old\ndebug = false\n"
AFTER = Blob(b"[DEFAULT]\npassword = canary-new\ndebug = true\n")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def host(start: Start, tmp_path: Path) -> Sshd:
    """A host whose agent keeps its state below the test's directory."""
    return start(f"SetEnv SHLVL=5 HYBRIDMSG_STATE={tmp_path}/state")


@pytest.fixture
def nornir(host: Sshd) -> Iterator[Nornir]:
    with sshd.nornir_over({"ctl1": (host.port, host.extras())}) as found:
        yield found


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_bytes(BEFORE)
    path.chmod(0o640)
    os.chown(path, 1, 9)
    return path


def run(nornir: Nornir, task: Any, **arguments: Any) -> Any:
    """Run a task on the one host and return its result, extra attributes and all; raises what it raised."""
    result = nornir.run(task, **arguments)["ctl1"][0]
    if result.exception:
        raise result.exception
    return result


def standing(path: Path) -> tuple[bytes, int, int, int]:
    status = path.stat()
    return path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def test_a_written_file_keeps_its_mode_and_owner(nornir: Nornir, conf: Path) -> None:
    result = run(nornir, write_file, path=str(conf), content=AFTER)
    assert result.changed
    assert standing(conf) == (AFTER.reveal(), 0o640, 1, 9)


def test_the_diff_shows_the_change_and_no_password(nornir: Nornir, conf: Path) -> None:
    diff = run(nornir, write_file, path=str(conf), content=AFTER).diff
    assert diff.endswith(
        " [DEFAULT]\n-password = ***\n-debug = false\n+password = ***  (secret changed)\n+debug = true\n"
    )


def test_mode_and_owner_are_set_where_they_are_given(nornir: Nornir, conf: Path) -> None:
    run(nornir, write_file, path=str(conf), content=AFTER, mode=0o600, user="root", group="root")
    assert standing(conf) == (AFTER.reveal(), 0o600, 0, 0)


def test_a_new_file_is_its_owners_only(nornir: Nornir, tmp_path: Path) -> None:
    run(nornir, write_file, path=str(tmp_path / "new"), content=AFTER)
    assert standing(tmp_path / "new") == (AFTER.reveal(), 0o600, 0, 0)


def test_the_same_content_again_changes_nothing(nornir: Nornir, conf: Path) -> None:
    run(nornir, write_file, path=str(conf), content=AFTER)
    inode = conf.stat().st_ino
    again = run(nornir, write_file, path=str(conf), content=AFTER)
    assert (again.changed, again.diff) == (False, "")
    assert conf.stat().st_ino == inode


def test_a_dry_run_shows_the_change_and_makes_none(nornir: Nornir, conf: Path, tmp_path: Path) -> None:
    nornir.data.dry_run = True
    result = run(nornir, write_file, path=str(conf), content=AFTER)
    assert result.changed
    assert "+debug = true" in result.diff
    assert standing(conf) == (BEFORE, 0o640, 1, 9)
    assert not (tmp_path / "state").exists(), "neither lock nor journal"


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [({}, False), ({"mode": 0o640, "user": "daemon"}, False), ({"mode": 0o600}, True), ({"user": "root"}, True)],
    ids=["nothing", "what it is", "mode", "owner"],
)
def test_a_dry_run_tells_a_change_of_mode_or_owner_as_the_run_does(
    wanted: dict[str, Any], nornir: Nornir, conf: Path, *, changed: bool
) -> None:
    for dry_run in (True, False):
        nornir.data.dry_run = dry_run
        assert run(nornir, write_file, path=str(conf), content=Blob(BEFORE), **wanted).changed is changed


def test_undo_puts_everything_back_with_what_the_result_says(nornir: Nornir, conf: Path) -> None:
    done = run(nornir, write_file, path=str(conf), content=AFTER, mode=0o600, user="root", group="root")
    steps = {"ctl1": [outcome["id"] for outcome in done.outcomes]}
    undone = run(nornir, undo_steps, run=done.run, steps=steps)
    assert (undone.changed, undone.result) == (True, "undone 1 of 1 steps")
    assert standing(conf) == (BEFORE, 0o640, 1, 9)


def test_undo_twice_is_once(nornir: Nornir, conf: Path) -> None:
    done = run(nornir, write_file, path=str(conf), content=AFTER)
    steps = {"ctl1": [outcome["id"] for outcome in done.outcomes]}
    run(nornir, undo_steps, run=done.run, steps=steps)
    assert not run(nornir, undo_steps, run=done.run, steps=steps).changed


def test_undo_leaves_somebodys_later_work_alone_unless_forced(nornir: Nornir, conf: Path) -> None:
    done = run(nornir, write_file, path=str(conf), content=AFTER)
    steps = {"ctl1": [outcome["id"] for outcome in done.outcomes]}
    conf.write_bytes(b"[DEFAULT]\n# mine\n")
    with pytest.raises(StalePlan, match=f"ctl1: {conf} was changed after the run"):
        run(nornir, undo_steps, run=done.run, steps=steps)
    assert conf.read_bytes() == b"[DEFAULT]\n# mine\n"
    nornir.data.reset_failed_hosts()
    run(nornir, undo_steps, run=done.run, steps=steps, force=True)
    assert conf.read_bytes() == BEFORE


def test_the_host_remembers_the_run_and_no_secret(nornir: Nornir, conf: Path, tmp_path: Path) -> None:
    done = run(nornir, write_file, path=str(conf), content=AFTER)
    [about] = run(nornir, read_history).runs
    assert about["run"] == done.run
    assert [(one["kind"], one["status"], one["target"]) for one in about["entries"]] == [
        ("file.write", "doing", str(conf)),
        ("file.write", "done", str(conf)),
    ]
    assert "canary" not in json.dumps(about)
    assert "canary" not in (tmp_path / "state/runs" / done.run / "journal.jsonl").read_text()


def test_a_file_that_changed_since_it_was_read_is_not_written(nornir: Nornir, conf: Path) -> None:
    args = {"path": str(conf), "content_b64": AFTER.base64(), "mode": None, "user": None, "group": None}
    intent = Intent("file.write", args, f"write {conf}", {"sha256": "0" * 64})
    with pytest.raises(StalePlan, match="ctl1"):
        run(nornir, apply_own, intents=[intent])
    assert conf.read_bytes() == BEFORE


def test_steps_after_one_that_failed_are_not_done(nornir: Nornir, conf: Path, tmp_path: Path) -> None:
    def write(path: str) -> Intent:
        return Intent("file.write", {"path": path, "content_b64": AFTER.base64(), "mode": None, "user": None,
                                     "group": None}, f"write {path}")  # fmt: skip

    intents = [write(str(tmp_path / "new")), write("/proc/nowhere/x"), write(str(conf))]
    with pytest.raises(StepFailed) as caught:
        run(nornir, apply_own, intents=intents)
    assert caught.value.step == "0002"
    assert (tmp_path / "new").exists()
    assert conf.read_bytes() == BEFORE


def test_a_host_that_has_no_steps_is_asked_for_nothing_and_unchanged(nornir: Nornir) -> None:
    run(nornir, lock_host, run="r1")
    assert not run(nornir, apply_steps, run="r1", steps={"ctl2": [Step("0001", "s", "no.such", {}, "x")]}).changed


def test_facts_are_an_attribute_and_never_the_printed_result(nornir: Nornir, conf: Path) -> None:
    result = run(nornir, read_facts, queries={"ctl1": query([str(conf), "/nowhere"], [])})
    assert result.result == "read 2 files, 0 units"
    assert result.facts["files"]["/nowhere"] == {"exists": False}
    assert result.facts["files"][str(conf)]["mode"] == 0o640
    assert not result.changed
    assert "canary" not in str(result) + repr(result)


def test_a_second_session_finds_the_host_locked_and_by_whom(host: Sshd, nornir: Nornir) -> None:
    run(nornir, lock_host, run="r1")
    with (
        sshd.nornir_over({"ctl1": (host.port, host.extras())}) as second,
        pytest.raises(Locked, match=r"ctl1: locked by \S+@\S+ since \d{4}.*\(run r1\)") as caught,
    ):
        run(second, lock_host, run="r2")
    assert caught.value.holder["run"] == "r1"


def test_the_lock_ends_with_the_session(host: Sshd, nornir: Nornir) -> None:
    run(nornir, lock_host, run="r1")
    nornir.close_connections()
    with sshd.nornir_over({"ctl1": (host.port, host.extras())}) as second:
        assert run(second, lock_host, run="r2").result == "locked"


def test_a_script_cannot_write_while_another_run_has_the_host(host: Sshd, nornir: Nornir, conf: Path) -> None:
    run(nornir, lock_host, run="r1")
    with sshd.nornir_over({"ctl1": (host.port, host.extras())}) as second, pytest.raises(Locked):
        run(second, write_file, path=str(conf), content=AFTER)
    assert conf.read_bytes() == BEFORE


def printed(result: Any) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        print_result(result)
    return out.getvalue()


def test_print_result_shows_host_diff_and_outcome(nornir: Nornir, conf: Path) -> None:
    shown = printed(nornir.run(write_file, path=str(conf), content=AFTER))
    assert "ctl1 ** changed : True" in shown
    assert "+debug = true" in shown
    assert f"changed write {conf}" in shown
    assert "canary" not in shown


def test_print_result_shows_why_a_host_failed(host: Sshd, nornir: Nornir, conf: Path) -> None:
    run(nornir, lock_host, run="r1")
    with sshd.nornir_over({"ctl1": (host.port, host.extras())}) as second:
        shown = printed(second.run(write_file, path=str(conf), content=AFTER))
    assert "Locked: ctl1: locked by" in shown
    assert "canary" not in shown


@pytest.mark.parametrize("fails", [False, True], ids=["written", "failed"])
def test_nornirs_own_log_shows_no_content(
    nornir: Nornir, conf: Path, caplog: pytest.LogCaptureFixture, *, fails: bool
) -> None:
    path = "/proc/nowhere/x" if fails else str(conf)
    with caplog.at_level(logging.DEBUG):
        result: Result = nornir.run(write_file, path=path, content=AFTER)["ctl1"][0]
    assert result.failed is fails
    assert f"'content': [blob: {len(AFTER)} bytes]" in caplog.text, "the arguments are logged"
    assert "canary" not in caplog.text
    assert "Y2FuYXJ5" not in caplog.text


SCRIPT = """\
from nornir import InitNornir
from nornir_utils.plugins.functions import print_result
from deployer.model.secrets import Blob
from deployer.nornir_plugins import register
from tasks.files import write_file

register()
with InitNornir(config_file="config.yaml") as nr:
    result = nr.run(write_file, path="{path}", content=Blob(b"[DEFAULT]\\npassword = canary\\n"), mode=0o600)
print_result(result)
"""
CONFIG = """\
runner: {plugin: hybridmsg_threads, options: {num_workers: 5, deadline: 60}}
inventory:
  plugin: SimpleInventory
  options: {host_file: hosts.yaml, group_file: groups.yaml, defaults_file: defaults.yaml}
logging: {enabled: true, level: DEBUG, log_file: nornir.log}
"""


def test_a_script_of_ones_own_needs_ten_lines(host: Sshd, tmp_path: Path) -> None:
    extras = json.dumps(host.extras())
    files = {
        "script.py": SCRIPT.replace("{path}", str(tmp_path / "new.conf")),
        "config.yaml": CONFIG,
        "hosts.yaml": f"ctl1: {{hostname: 127.0.0.1, port: {host.port}, groups: [nova]}}\n",
        "groups.yaml": "nova: {}\n",
        "defaults.yaml": f"username: {sshd.USER}\nconnection_options: {{hybridmsg_ssh: {{extras: {extras}}}}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert standing(tmp_path / "new.conf")[:2] == (b"[DEFAULT]\npassword = canary\n", 0o600)
    assert "+password = ***" in done.stdout
    log = (tmp_path / "nornir.log").read_text()
    assert "write_file" in log
    assert "canary" not in done.stdout + done.stderr + log

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.cli.main import run
from deployer.schedule import install as installing
from deployer.schedule.metrics import write_report
from deployer.schedule.units import Schedule

ROOT = Path(__file__).parents[2]
WRONG = "ctl1: {hostname: 10.0.0.2, groups: [nova, controlers]}\n"
SYSTEMCTL = """#!/bin/sh
if [ "$2" = show ]; then printf 'ActiveState=active\\nUnitFileState=enabled\\nResult=success\\n'; fi
"""

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program under its own name, as an installation has it: program(word, ...)."""
    script = tmp_path / "bin" / "hybridmsg"
    script.parent.mkdir()
    code = f"import sys; sys.argv[0] = {str(script)!r}; from deployer.cli.main import main; main()"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(code)} "$@"\n')
    script.chmod(0o755)
    paths = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{script.parent}:{os.environ['PATH']}"}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        argv = ["hybridmsg", "schedule", *words]
        return subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, env=paths, check=False)

    return call


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    directory = tmp_path / "inventory"
    directory.mkdir()
    for name, text in (("hosts", WRONG), ("groups", "{}\n"), ("defaults", "{}\n")):
        (directory / f"{name}.yaml").write_text(text)
    return directory


def test_a_dry_run_prints_units_with_absolute_paths_and_writes_nothing(
    program: Program, inventory: Path, tmp_path: Path
) -> None:
    done = program("install", "-i", "inventory", "--state-dir", "state", "--every", "5min", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f'ExecStart="{tmp_path}/bin/hybridmsg" "reconcile" "--inventory" "{inventory}"' in done.stdout
    assert "OnUnitActiveSec=300s" in done.stdout
    assert not (tmp_path / "state").exists()


def test_the_units_are_in_the_json_document_too(program: Program, inventory: Path) -> None:
    done = program("install", "-i", "inventory", "--dry-run", "--name", "own", "--json")
    document = json.loads(done.stdout)
    assert (document["installed"], sorted(document["units"])) == (False, ["own.service", "own.timer"])


def test_an_inventory_with_a_mistake_is_not_scheduled(program: Program, inventory: Path, tmp_path: Path) -> None:
    done = program("install", "-i", "inventory", "--state-dir", "state", "--name", "hybridmsg-test-wrong")
    assert (done.returncode, (tmp_path / "state").exists()) == (1, False)
    assert "controlers" in done.stderr
    assert not (installing.UNITS / "hybridmsg-test-wrong.service").exists()


def test_a_program_that_is_not_installed_is_not_scheduled(inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule", "install", "-i", str(inventory), "--dry-run"]) == 1
    assert "systemd runs an installed hybridmsg" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--every", "30"], ["--deep-every", "1s"], ["--name", "../x"], ["--metrics", "/none"]]
)
def test_wrong_options_are_wrong_usage(words: list[str], inventory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule", "install", "-i", str(inventory), "--dry-run", *words]) == 1
    assert "Invalid value" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["install", "remove"])
def test_who_is_not_root_changes_nothing(
    verb: str, inventory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hybridmsg").write_text("#!/bin/sh\n")
    (tmp_path / "hybridmsg").chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(tmp_path / "hybridmsg")])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    words = ["-i", str(inventory)] if verb == "install" else []
    assert run(["schedule", verb, *words]) == 1
    assert "run it as root" in capsys.readouterr().err


def test_without_a_schedule_status_ends_with_3_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule", "status", "--name", "hybridmsg-test-none"]) == 3
    assert run(["schedule", "status", "--name", "hybridmsg-test-none", "--json"]) == 3
    text, _, document = capsys.readouterr().out.partition("\n")
    assert text == "There is no schedule hybridmsg-test-none on this machine."
    assert json.loads(document) == {"schema": 1, "installed": False}


def test_removing_what_is_not_there_is_done_already(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schedule", "remove", "--name", "hybridmsg-test-none"]) == 0
    assert "There is no schedule" in capsys.readouterr().out


def test_status_tells_the_last_run_and_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    own = Schedule("own", "/bin/hybridmsg", "/etc/hybridmsg", str(tmp_path / "state"), "", 1800, 21600)
    drift = [{"kind": "option"}, {"kind": "option"}, {"kind": "stale"}]
    report = {
        "ok": True,
        "state": "repaired",
        "deep": False,
        "drift": drift,
        "seconds": 61.25,
        "when": "2026-11-23T10:00:00+00:00",
    }
    write_report(own.reports, report)
    monkeypatch.setattr("deployer.schedule.install.installed", {own.name: own}.get)
    assert run(["schedule", "status", "--name", "own"]) == 0
    shown = capsys.readouterr().out
    assert "reconcile of /etc/hybridmsg, every 1800 s, deep every 21600 s" in shown
    assert "last:  2026-11-23T10:00:00+00:00: repaired, 2 option, 1 stale, 61.2 s" in shown
    assert run(["schedule", "status", "--name", "own", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["last"]["drift"] == drift

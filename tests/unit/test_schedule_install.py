from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import HostError
from deployer.schedule.install import install, installed, remove, standing
from deployer.schedule.metrics import write_report
from deployer.schedule.units import Schedule

REPORT = {
    "ok": True,
    "state": "in line",
    "deep": True,
    "drift": [],
    "seconds": 1.0,
    "when": "2026-11-23T10:00:00+00:00",
}
SHOWN = "ActiveState={active}\nUnitFileState={enabled}\nResult={result}\nExecMainStatus=0\n"
Answers = Callable[..., None]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A stand-in for systemctl, which writes down what it is told: called() has the lines."""
    told, program = tmp_path / "told", tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{told}\ncat {tmp_path}/answers/"$2" 2>/dev/null\nexit "$(cat {tmp_path}/exit)"\n'
    )
    program.chmod(0o755)
    (tmp_path / "answers").mkdir()
    (tmp_path / "exit").write_text("0")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: [line.removeprefix("--no-pager ") for line in told.read_text().splitlines()]


@pytest.fixture
def answers(tmp_path: Path, called: object) -> Answers:
    """What the stand-in prints: answers(active=..., enabled=..., result=..., timers=...)."""

    def write(active: str = "active", enabled: str = "enabled", result: str = "success", timers: str = "[]") -> None:
        (tmp_path / "answers" / "show").write_text(SHOWN.format(active=active, enabled=enabled, result=result))
        (tmp_path / "answers" / "list-timers").write_text(timers)

    write()
    return write


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    (tmp_path / "textfiles").mkdir()
    state, metrics = str(tmp_path / "state"), str(tmp_path / "textfiles")
    return Schedule("own", "/opt/bin/hybridmsg", "/etc/hybridmsg", state, metrics, 1800, 21600)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    (tmp_path / "units").mkdir()
    return tmp_path / "units"


def test_systemd_is_told_of_the_units_before_the_timer_starts(
    schedule: Schedule, units: Path, called: Callable[[], list[str]]
) -> None:
    install(schedule, units)
    assert {file.name: file.read_text() for file in units.iterdir()} == schedule.units()
    assert {file.stat().st_mode & 0o777 for file in units.iterdir()} == {0o644}
    assert called() == ["daemon-reload", "enable own.timer", "restart own.timer"]


def test_the_directory_that_a_run_writes_to_is_there_before_the_first_and_nobody_elses(
    schedule: Schedule, units: Path, called: object
) -> None:
    install(schedule, units)
    assert Path(schedule.state_dir).stat().st_mode & 0o777 == 0o700
    assert schedule.reports.is_dir()


def test_installed_again_it_is_as_told_then(schedule: Schedule, units: Path, called: object) -> None:
    install(schedule, units)
    install(replace(schedule, every=60), units)
    assert installed("own", units) == replace(schedule, every=60)


def test_a_unit_of_somebody_else_is_not_overwritten(schedule: Schedule, units: Path, called: object) -> None:
    (units / "own.service").write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(HostError, match="not hybridmsg's"):
        install(schedule, units)
    assert (units / "own.service").read_text() == "[Service]\nExecStart=/bin/true\n"


def test_removed_it_leaves_nothing_but_its_reports(
    schedule: Schedule, units: Path, called: Callable[[], list[str]], tmp_path: Path
) -> None:
    install(schedule, units)
    write_report(schedule.reports, REPORT)
    (tmp_path / "textfiles" / "own.prom").touch()
    (tmp_path / "textfiles" / "other.prom").touch()
    remove(schedule, units)
    assert list(units.iterdir()) == []
    assert [file.name for file in (tmp_path / "textfiles").iterdir()] == ["other.prom"]
    assert (schedule.reports / "last.json").exists()
    assert called()[-3:] == ["disable --now own.timer", "daemon-reload", "reset-failed own.*"]


def test_what_is_not_there_is_not_installed(units: Path) -> None:
    assert installed("own", units) is None


def test_systemctl_that_fails_ends_it_and_is_quoted(
    schedule: Schedule, units: Path, called: object, tmp_path: Path
) -> None:
    (tmp_path / "exit").write_text("1")
    with pytest.raises(HostError, match="systemctl daemon-reload failed"):
        install(schedule, units)


def test_a_machine_without_systemd_is_told_so(schedule: Schedule, units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(units))
    with pytest.raises(HostError, match="no systemctl"):
        install(schedule, units)


def test_the_next_run_and_the_last_report_are_told(schedule: Schedule, answers: Answers) -> None:
    answers(timers=json.dumps([{"next": 1_763_892_000_000_000, "unit": "own.timer"}]))
    write_report(schedule.reports, REPORT)
    found = standing(schedule)
    assert (found.next, found.well) == ("2025-11-23T10:00:00+00:00", True)
    assert found.last is not None
    assert found.last["state"] == "in line"


@pytest.mark.parametrize(
    "wrong",
    [{"active": "inactive"}, {"enabled": "disabled"}, {"result": "exit-code"}],
    ids=["stopped", "gone after a reboot", "failed"],
)
def test_a_timer_that_does_not_go_on_or_whose_run_failed_does_not_stand_well(
    wrong: dict[str, str], schedule: Schedule, answers: Answers
) -> None:
    answers(**wrong)
    assert not standing(schedule).well


@pytest.mark.parametrize("timers", ["", "0 timers listed.", "[]", '[{"next": null}]', '[{"next": 0}]'])
def test_a_next_run_that_is_not_known_is_none(timers: str, schedule: Schedule, answers: Answers) -> None:
    answers(timers=timers)
    assert standing(schedule).next is None

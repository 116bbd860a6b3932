"""`plan -o FILE` and `migrate FILE` on the command line; what the hosts did is the tests' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.cli.main import run
from deployer.errors import HostError, HostsFailed
from deployer.plan.planner import Plan, make_plan
from deployer.plan.saved import SavedPlan
from deployer.rollout.endings import Ending
from deployer.rollout.outcome import Migration
from tests.unit.plan.test_saved import PLAN, SITE, facts

STALE: dict[str, tuple[str, ...]] = {"glance": ("ctl1: /etc/glance/glance-api.conf changed since the plan was made",)}
ENDED: dict[str, Ending] = {"ctl1": "changed", "ctl2": "failed"}
NOW = make_plan(SITE, facts(ctl1="debug = true\n"))


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what every verb needs; the inventory is SITE's whatever the directory holds."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("deployer.model.inventory.load_deployment", lambda _directory: SITE)
    monkeypatch.setattr("deployer.model.transports.elsewhere", lambda _deployment: ())
    return ["-i", str(tmp_path), "--state-dir", str(tmp_path / "state"), "--quiet"]


@pytest.fixture
def file(tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A saved plan."""
    seen(monkeypatch, PLAN)
    assert run(["plan", "-o", str(tmp_path / "plan.json"), *words]) == 2
    capsys.readouterr()
    return tmp_path / "plan.json"


def seen(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    """Let this be the plan that is made of the hosts."""
    monkeypatch.setattr("deployer.rollout.preflight.read_plan", lambda *_words: plan)


def migrated(monkeypatch: pytest.MonkeyPatch, outcome: Migration | BaseException) -> list[Any]:
    """Let this be a migration's outcome, and return the options that it is to get."""
    asked: list[Any] = []

    def carried_out(*words: Any) -> Migration:
        asked.append(words[-1])
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr("deployer.rollout.migrate.migrate", carried_out)
    return asked


def test_a_saved_plan_reaches_the_migration_whole(
    file: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = migrated(monkeypatch, Migration(PLAN))
    assert run(["migrate", str(file), *words]) == 0
    assert asked[0].saved == SavedPlan.read(json.loads(file.read_text()))


def test_a_migration_that_left_a_stale_project_alone_ends_with_6(
    file: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(monkeypatch, Migration(PLAN, hosts={"ctl1": "skipped"}, stale=STALE))
    assert run(["migrate", str(file), "--json", *words]) == 6
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["stale"] == {"glance": list(STALE["glance"])}
    assert found["hosts"] == {"ctl1": "skipped"}


@pytest.mark.parametrize(("plan", "code", "told"), [(PLAN, 2, False), (NOW, 6, True)])
def test_a_dry_run_of_a_saved_plan_says_what_is_stale(
    file: Path,
    words: list[str],
    plan: Plan,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    told: bool,
) -> None:
    seen(monkeypatch, plan)
    assert run(["migrate", str(file), "--dry-run", *words]) == code
    shown = capsys.readouterr().out
    assert ("glance is stale and left alone: ctl1: /etc/glance/glance-api.conf changed" in shown) == told
    assert ("glance: write configuration" in shown) != told
    assert "nova: write configuration" in shown


def test_a_damaged_saved_plan_is_refused_by_name_and_nothing_is_asked(
    file: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = migrated(monkeypatch, Migration(PLAN))
    file.write_text(file.read_text().replace("nova", "nvoa", 1))
    assert run(["migrate", str(file), *words]) == 1
    assert f"{file}: cannot be carried out: it is damaged" in capsys.readouterr().err
    assert asked == []


# How the hosts ended.


def failed() -> HostsFailed:
    error = HostsFailed({"ctl2": HostError("ctl2", "disk full")})
    error.hosts = ENDED
    return error


def test_the_last_table_says_how_every_host_ended_also_when_it_failed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(monkeypatch, failed())
    assert run(["migrate", *words]) == 3
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines() if "ctl" in line]
    assert [(row[1], row[3]) for row in rows] == [*ENDED.items()]
    assert "ctl2: disk full" in shown.err


def test_an_errors_document_says_how_every_host_ended(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(monkeypatch, failed())
    assert run(["migrate", "--json", *words]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["hosts"], found["error"]["kind"]) == (ENDED, "HostsFailed")


def test_an_error_before_any_host_is_asked_shows_no_table(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated(monkeypatch, HostError("ctl1", "x"))
    assert run(["migrate", *words]) == 3
    assert capsys.readouterr().out == ""

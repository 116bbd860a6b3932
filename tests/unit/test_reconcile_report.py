"""What a reconcile tells people and programs, on the console and as files."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.cli.main import run
from deployer.errors import HostsFailed, Unreachable
from deployer.journal.run import Run
from deployer.plan.drift import Drift
from deployer.report.console import show_plan
from deployer.report.documents import plan_document
from deployer.report.drift import reconcile_document, show_reconciled
from deployer.rollout.heal import Healed
from deployer.rollout.hold import Hold
from deployer.rollout.reconcile import Mode, Reconciled
from deployer.schedule.metrics import render
from tests.unit.plan.test_drift import planned

CUT = Run("20260101T000000.000000Z-0000", "migrate", "root@ops1", "2026-01-01T00:00:00+00:00", "inventory")
HOLD = Hold(CUT.run, "root@ops1", "2026-01-02T00:00:00+00:00", ("nova",))
DRIFT = Drift("option", "ctl1", "glance", "/etc/g.conf [DEFAULT] transport_url", "is [red]x[/red], is to be y")
SILENT = Drift("rpc", "", "nova", "conductor@ctl1", "no answer")


def found(**more: Any) -> Reconciled:
    return Reconciled("/etc/hybridmsg", **{"check": False, "deep": False, "when": "2026-01-01T00:00:00+00:00", **more})


def test_the_report_has_every_difference_and_what_was_done() -> None:
    document = reconcile_document(found(state="repaired", drift=[DRIFT], healed=[Healed(CUT, ["nova"])], run=CUT))
    assert json.loads(json.dumps(document)) == document
    assert (document["ok"], document["state"], document["run"], document["error"]) == (True, "repaired", CUT.run, None)
    assert document["drift"] == [{**DRIFT.__dict__, "deep": False}]
    assert document["healed"] == [{"run": CUT.run, "projects": ["nova"], "rolled_back": False}]


def test_an_error_is_in_the_report_too() -> None:
    error = HostsFailed({"ctl2": Unreachable("ctl2", "no route to host")})
    document = reconcile_document(found(error=error, drift=[DRIFT], hosts={"ctl2": "unreachable"}))
    assert (document["ok"], document["state"], document["hosts"]) == (False, "failed", {"ctl2": "unreachable"})
    assert (document["error"]["kind"], document["error"]["exit_code"]) == ("HostsFailed", 4)
    assert document["drift"]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (found(state="in line"), 0),
        (found(state="repaired", drift=[DRIFT]), 0),
        (found(state="drift", drift=[DRIFT]), 2),
        (found(state="drift", drift=[DRIFT, SILENT]), 3),
        (found(state="drift", drift=[DRIFT, SILENT], check=True), 2),
        (found(state="held", drift=[DRIFT], hold={"ctl1": HOLD}), 7),
        (found(state="failed", error=Unreachable("ctl1", "away")), 4),
    ],
    ids=lambda one: one.state if isinstance(one, Reconciled) else str(one),
)
def test_each_end_has_its_exit_code(what: Reconciled, code: int) -> None:
    assert what.exit_code == code


def test_people_read_each_difference_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    show_reconciled(found(state="held", drift=[DRIFT], hold={"ctl1": HOLD, "ctl2": HOLD}))
    told = capsys.readouterr().out
    assert "is [red]x[/red], is to be y" in told
    assert told.count("held since 2026-01-02") == 1
    assert "until `hybridmsg release`" in told
    assert "held: 1 differences" in told


def test_people_read_what_was_brought_to_an_end_first(capsys: pytest.CaptureFixture[str]) -> None:
    show_reconciled(found(state="in line", healed=[Healed(CUT, ["nova"]), Healed(CUT, [], rolled_back=True)]))
    told = capsys.readouterr().out
    assert "back on its old bus: nova" in told
    assert "its rollback was finished" in told


def test_metrics_can_be_made_of_a_report() -> None:
    document = reconcile_document(found(state="drift", drift=[DRIFT, DRIFT]))
    metrics = render({**document, "last_success": None, "last_deep": {"when": None, "drift": {}}})
    assert 'kind="option"} 2.0' in metrics.replace('inventory="/etc/hybridmsg",', "").replace("{,", "{")


# The verb.


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reconciled], list[Mode]]:
    """Return what lets the verb come to an end that is given; the modes that it was called with are kept."""

    def end(with_: Reconciled) -> list[Mode]:
        modes: list[Mode] = []

        def reconcile(*words: Any) -> Reconciled:
            modes.append(words[-1])
            return with_

        monkeypatch.setattr("deployer.rollout.reconcile.reconcile", reconcile)
        return modes

    return end


def words(tmp_path: Path, *more: str) -> list[str]:
    return ["reconcile", "-i", str(tmp_path), "--state-dir", str(tmp_path / "state"), *more]


def test_the_verb_prints_one_document_and_ends_as_it_went(
    tmp_path: Path, carried_out: Callable[[Reconciled], list[Mode]], capsys: pytest.CaptureFixture[str]
) -> None:
    modes = carried_out(found(state="failed", error=Unreachable("ctl1", "away")))
    assert run(words(tmp_path, "--json", "--check", "--deep")) == 4
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["message"] == "ctl1: away"
    assert printed.err == "hybridmsg: ctl1: away\n"
    assert modes == [Mode(check=True, deep=True)]


def test_the_report_is_kept_for_root_alone_and_metrics_for_all(
    tmp_path: Path, carried_out: Callable[[Reconciled], list[Mode]]
) -> None:
    carried_out(found(state="drift", drift=[DRIFT]))
    reports, metrics = tmp_path / "reports", tmp_path / "hybridmsg.prom"
    assert run(words(tmp_path, "--report", str(reports), "--metrics", str(metrics))) == 2
    assert json.loads((reports / "last.json").read_text())["state"] == "drift"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (reports / "last.json", metrics)]
    assert modes == [0o600, 0o644]


def test_a_deep_look_is_due_as_the_reports_tell(
    tmp_path: Path, carried_out: Callable[[Reconciled], list[Mode]]
) -> None:
    modes = carried_out(found(state="in line", deep=True, when="2200-01-01T00:00:00+00:00"))
    for _ in range(2):
        assert run(words(tmp_path, "--report", str(tmp_path / "reports"), "--deep-every", "6h")) == 0
    assert [mode.deep for mode in modes] == [True, False]


def test_nobody_can_tell_when_a_deep_look_is_due_without_reports(tmp_path: Path) -> None:
    assert run(words(tmp_path, "--deep-every", "6h")) == 1


def test_an_inventory_that_is_wrong_is_in_the_report_too(tmp_path: Path) -> None:
    assert run(words(tmp_path, "--report", str(tmp_path / "reports"))) == 1
    report = json.loads((tmp_path / "reports" / "last.json").read_text())
    assert (report["state"], report["error"]["kind"]) == ("failed", "ConfigurationError")


def test_a_plan_tells_who_is_to_start_anew_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    plan = replace(
        planned(), projects=(replace(planned().projects[0], stale={"ctl1": {"glance-api": "runs on others"}}),)
    )
    show_plan(plan, diff=False)
    assert "ctl1: glance-api runs on others" in capsys.readouterr().out
    assert plan_document(plan)["restarts"] == ["ctl1: glance-api runs on others"]

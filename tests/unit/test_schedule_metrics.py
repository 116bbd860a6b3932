from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployer.plan.drift import KINDS
from deployer.schedule.metrics import KEPT, deep_is_due, follow, keep, last_report, render, write_report

FIRST = "2026-11-23T10:00:00+00:00"
SECOND = "2026-11-23T10:30:00+00:00"
THIRD = "2026-11-23T11:00:00+00:00"


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    """What the service's umask is."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def report(when: str = FIRST, state: str = "in line", *kinds: str, deep: bool = False) -> dict[str, Any]:
    return {
        "schema": 1,
        "ok": state in ("in line", "repaired"),
        "state": state,
        "deep": deep,
        "drift": [{"kind": kind, "host": "ctl1"} for kind in kinds],
        "seconds": 2.5,
        "when": when,
        "inventory": "/etc/hybridmsg",
    }


def samples(told: dict[str, Any]) -> dict[str, float]:
    """Return what Prometheus' own reader makes of the text: values by name and by the label that tells them apart."""
    found = [one for family in text_string_to_metric_families(render(told)) for one in family.samples]
    assert {one.labels["inventory"] for one in found} == {told["inventory"]}
    return {" ".join([one.name, *(v for k, v in one.labels.items() if k != "inventory")]): one.value for one in found}


def stamp(when: str) -> float:
    return datetime.fromisoformat(when).timestamp()


def drift(told: dict[str, Any]) -> dict[str, float]:
    return {
        name.split()[1]: value for name, value in samples(told).items() if name.startswith("hybridmsg_drift") and value
    }


def test_prometheus_reads_every_metric() -> None:
    found = samples(follow(report(FIRST, "repaired", "option", "option", "stale"), None))
    assert found["hybridmsg_reconcile_last_run_timestamp_seconds"] == stamp(FIRST)
    assert found["hybridmsg_reconcile_last_success_timestamp_seconds"] == stamp(FIRST)
    assert found["hybridmsg_reconcile_last_deep_timestamp_seconds"] == 0
    assert found["hybridmsg_reconcile_duration_seconds"] == 2.5
    assert found["hybridmsg_held"] == 0
    assert [found[f"hybridmsg_drift {kind}"] for kind in KINDS] == [2, 0, 0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("state", ["in line", "drift", "repaired", "held", "failed"])
def test_exactly_the_state_that_is_true_is_1(state: str) -> None:
    found = samples(follow(report(FIRST, state), None))
    states = {name.removeprefix("hybridmsg_state "): value for name, value in found.items() if "_state " in name}
    assert {name for name, value in states.items() if value} == {state}
    assert len(states) == 5
    assert found["hybridmsg_held"] == (state == "held")


def test_an_inventory_of_any_name_is_a_label() -> None:
    assert samples(follow({**report(), "inventory": '/etc/a "b" \\c'}, None))


def test_a_failed_run_keeps_when_the_last_success_was(tmp_path: Path) -> None:
    write_report(tmp_path, report(FIRST))
    told = write_report(tmp_path, report(SECOND, "failed"))
    assert told["last_success"] == FIRST
    assert samples(told)["hybridmsg_reconcile_last_run_timestamp_seconds"] == stamp(SECOND)
    assert write_report(tmp_path, report(THIRD))["last_success"] == THIRD


def test_a_cloud_that_was_never_in_line_has_no_time_of_success() -> None:
    assert samples(follow(report(FIRST, "failed"), None))["hybridmsg_reconcile_last_success_timestamp_seconds"] == 0


def test_a_quick_run_does_not_deny_what_only_a_deep_look_finds(tmp_path: Path) -> None:
    write_report(tmp_path, report(FIRST, "drift", "broker", "option", deep=True))
    assert drift(write_report(tmp_path, report(SECOND, "in line"))) == {"broker": 1}


def test_a_deep_look_that_finds_nothing_ends_what_an_earlier_one_found(tmp_path: Path) -> None:
    write_report(tmp_path, report(FIRST, "drift", "broker", deep=True))
    told = write_report(tmp_path, report(SECOND, "in line", deep=True))
    assert drift(told) == {}
    assert samples(told)["hybridmsg_reconcile_last_deep_timestamp_seconds"] == stamp(SECOND)


def test_a_deep_look_that_failed_is_due_still(tmp_path: Path) -> None:
    write_report(tmp_path, report(FIRST, deep=True))
    write_report(tmp_path, report(SECOND, "failed", deep=True))
    assert deep_is_due(tmp_path, 3600, datetime.fromisoformat(THIRD))


@pytest.mark.parametrize(("after", "due"), [(3599, False), (3600, True)])
def test_a_deep_look_is_due_when_the_last_one_is_as_old_as_told(after: int, due: bool, tmp_path: Path) -> None:  # noqa: FBT001  # pytest passes parameters by keyword
    write_report(tmp_path, report(FIRST, deep=True))
    write_report(tmp_path, report(SECOND))
    assert deep_is_due(tmp_path, 3600, datetime.fromisoformat(FIRST) + timedelta(seconds=after)) is due


def test_the_first_run_of_all_is_deep(tmp_path: Path) -> None:
    assert deep_is_due(tmp_path / "none", 86400, datetime.fromisoformat(FIRST))


def test_a_report_is_its_owners_alone_and_the_last_one_has_a_name_of_its_own(tmp_path: Path) -> None:
    write_report(tmp_path / "reports", report(FIRST))
    write_report(tmp_path / "reports", report(SECOND))
    files = sorted((tmp_path / "reports").iterdir())
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert [json.loads(file.read_bytes())["when"] for file in files] == [FIRST, SECOND, SECOND]


def test_the_newest_hundred_reports_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        (tmp_path / f"20251123T1000{number:05d}Z.json").write_text("{}")
    (tmp_path / "notes.json").write_text("somebody's own")
    write_report(tmp_path, report(FIRST))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert len(names) == KEPT + len(["last.json", "notes.json"])
    assert names[0] == "20251123T100000006Z.json"


@pytest.mark.parametrize("damage", ["", "{", "[]", "null"])
def test_a_damaged_last_report_keeps_no_run_from_reporting(damage: str, tmp_path: Path) -> None:
    (tmp_path / "last.json").write_text(damage)
    assert last_report(tmp_path) is None
    assert write_report(tmp_path, report(FIRST))["last_success"] == FIRST


def test_the_exporter_may_read_the_metrics_whatever_the_umask_is(tmp_path: Path, narrow_umask: None) -> None:
    keep(report(), tmp_path / "reports", tmp_path / "hybridmsg.prom")
    assert (tmp_path / "hybridmsg.prom").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "hybridmsg.prom").read_text() == render(last_report(tmp_path / "reports") or {})


def test_metrics_that_cannot_be_put_in_place_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "hybridmsg.prom").mkdir()
    with pytest.raises(IsADirectoryError):
        keep(report(), None, tmp_path / "hybridmsg.prom")
    assert [file.name for file in tmp_path.iterdir()] == ["hybridmsg.prom"]

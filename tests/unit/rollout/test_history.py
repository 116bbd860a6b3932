"""What `history` and `show` tell, with hosts in memory that run the agent's own code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError, RecordRefused, UnknownRun, Unreachable
from deployer.journal.store import RunStore
from deployer.report import history as report
from deployer.rollout import history
from deployer.rollout.history import History, Shown
from deployer.rollout.hold import Hold
from tests.unit.rollout.conftest import CONTROLLERS, Cloud


@pytest.fixture
def migrated(standard: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setattr(history, "Fleet", standard.wire.fleet)
    return standard


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunStore:
    """The empty record of another machine."""
    return RunStore(tmp_path / "elsewhere")


def asked(cloud: Cloud, store: RunStore | None = None) -> History:
    return history.history(cloud.deployment, store or cloud.store, cloud.told)


def shown(cloud: Cloud, name: str = "last", host: str | None = None, store: RunStore | None = None) -> Shown:
    return history.show(cloud.deployment, store or cloud.store, cloud.told, name, host)


def test_each_host_is_asked_once_and_nothing_is_locked(migrated: Cloud) -> None:
    asked(migrated)
    assert sorted(migrated.wire.calls) == sorted(("read_history", host) for host in migrated.deployment.hosts)


def test_the_hosts_need_not_be_asked(migrated: Cloud) -> None:
    assert history.history(None, migrated.store, migrated.told).runs == [migrated.run]
    assert history.show(None, migrated.store, migrated.told, "last").run == migrated.run
    assert migrated.wire.calls == []


def test_another_machine_learns_it_from_the_hosts_and_records_nothing(migrated: Cloud, elsewhere: RunStore) -> None:
    [run] = asked(migrated, elsewhere).runs
    assert (run.run, run.who) == (migrated.run.run, migrated.run.who)
    assert shown(migrated, store=elsewhere).steps == history.show(None, migrated.store, migrated.told, "last").steps
    assert not elsewhere.root.exists()


def test_hosts_out_of_reach_are_told_and_do_not_fail_it(migrated: Cloud) -> None:
    migrated.wire.fail("ctl2", "read_history", Unreachable("ctl2", "no route"))
    found = asked(migrated)
    assert (list(found.errors), found.runs) == (["ctl2"], [migrated.run])
    assert "ctl2: no route" in shown(migrated).problems["ctl2"]


def test_what_a_host_out_of_reach_did_is_told_by_the_copy(migrated: Cloud) -> None:
    before = shown(migrated).steps
    migrated.wire.fail("ctl2", "read_history", Unreachable("ctl2", "no route"))
    assert shown(migrated).steps == before


def test_a_record_that_cannot_be_read_is_named_and_hides_no_other(migrated: Cloud) -> None:
    (migrated.store.root / "20200101T000000Z-0000").mkdir()
    (migrated.store.root / "20200101T000000Z-0000" / "run.json").write_text("{")
    found = asked(migrated)
    assert found.runs == [migrated.run]
    assert "20200101T000000Z-0000" in str(found.refused[0])
    with pytest.raises(RecordRefused, match="20200101"):
        shown(migrated, "2020")


def test_a_damaged_journal_is_named_and_hides_no_other(migrated: Cloud) -> None:
    journal = migrated.world.hosts["ctl1"].journals[migrated.run.run]
    journal.replace([{**line, "target": "another"} for line in journal.entries()])
    assert list(asked(migrated).damaged[migrated.run.run]) == ["ctl1"]
    found = shown(migrated)
    assert "damaged" in found.problems["ctl1"]
    assert found.steps["ctl1"], "by the copy"


def test_a_hold_and_a_pending_that_are_damaged_are_told_as_that(
    migrated: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    hold, pending = {"damaged": "hold.json is damaged"}, {"damaged": "pending.json is damaged"}
    found = replace(asked(migrated), holds={"ctl1": Hold.of(hold)}, pending={"ctl2": pending})
    document = report.history_document(found)
    assert (document["holds"], document["pending"]) == ({"ctl1": hold}, {"ctl2": pending})
    report.show_history(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "ctl1: held, and cannot tell by whom: hold.json is damaged" in printed
    assert "ctl2: which run is not confirmed there cannot be told: pending.json is damaged" in printed


def test_what_is_not_confirmed_is_told_with_its_run(migrated: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    found = replace(asked(migrated), pending={"ctl2": {"run": "run-7", "scopes": {"project:nova": 1.0}}})
    report.show_history(found)
    assert "ctl2: run run-7 is not confirmed there: project:nova" in " ".join(capsys.readouterr().out.split())


def test_every_step_of_every_host_is_shown(migrated: Cloud) -> None:
    found = shown(migrated)
    for host in CONTROLLERS:
        journaled = {line["step"] for line in migrated.world.hosts[host].journals[migrated.run.run].entries()}
        assert {act.step for act in found.steps[host]} == journaled
        assert {act.status for act in found.steps[host]} == {"done"}
        assert {"glance", "nova"} <= {act.project for act in found.steps[host]}


def test_a_rollback_is_seen_in_what_it_took_back_and_in_what_it_stopped(migrated: Cloud) -> None:
    migrated.rollback()
    found = shown(migrated)
    assert {act.status for act in found.steps["ctl1"] if act.kind == "file.write"} == {"undone"}
    assert {act.kind for act in found.undo["ctl1"]} == {"unit.stop"}


def test_one_host_alone_can_be_shown(migrated: Cloud) -> None:
    assert list(shown(migrated, host="ctl1").steps) == ["ctl1"]


def test_a_host_that_had_no_part_is_named(migrated: Cloud) -> None:
    with pytest.raises(ConfigurationError, match="ctl9 had no part in run"):
        shown(migrated, host="ctl9")


def test_a_run_that_nobody_knows_is_named(migrated: Cloud) -> None:
    with pytest.raises(UnknownRun, match="no run 1999"):
        shown(migrated, "1999")


def test_what_is_told_is_for_people_too_and_holds_no_secret(
    migrated: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated.rollback()
    report.show_history(asked(migrated))
    report.show_run(shown(migrated))
    documents = json.dumps([report.history_document(asked(migrated)), report.run_document(shown(migrated))])
    printed = capsys.readouterr().out
    for words in (migrated.run.run, "rolled back", "unit.stop", "ctl1", "nova-api"):
        assert words in printed
        assert words in documents
    assert "canary" not in printed + documents

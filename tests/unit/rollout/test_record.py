"""The record of a run on both sides, with hosts in memory that run the agent's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.errors import ConnectionLost, HostError, HybridmsgError, RecordRefused, Unreachable
from deployer.journal.store import RunStore
from deployer.rollout import record
from deployer.rollout.fleet import Fleet
from tests.unit.rollout.conftest import CONTROLLERS, Cloud
from tests.unit.rollout.fake_host import MemoryJournal


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunStore:
    """The empty record of another machine."""
    return RunStore(tmp_path / "elsewhere")


@pytest.fixture
def fleet(standard: Cloud) -> Fleet:
    """The fleet of a cloud that was migrated, its hosts locked."""
    return locked(standard)


def locked(cloud: Cloud) -> Fleet:
    found = cloud.wire.fleet(cloud.deployment, cloud.told)
    found.lock(cloud.run.run)
    return found


def told(cloud: Cloud, host: str) -> dict[str, Any]:
    """Return the record of the newest run as the host has it."""
    return dict(cloud.world.hosts[host].journals[cloud.run.run].about()["record"])


def copied(store: RunStore, run: str) -> dict[str, list[dict[str, Any]]]:
    return {host: store.copy(run, host).lines() for host in CONTROLLERS}


def test_every_line_that_a_host_journals_is_copied(standard: Cloud) -> None:
    run = standard.run.run
    assert copied(standard.store, run) == {
        host: standard.world.hosts[host].journals[run].entries() for host in CONTROLLERS
    }


def test_what_a_lost_session_did_not_tell_is_copied_and_is_enough_when_the_disk_is_lost_too(hybrid: Cloud) -> None:
    hybrid.rollback()
    hybrid.settle()
    hybrid.migrate()
    steps = hybrid.wire.calls.count(("apply_steps", "ctl2"))
    hybrid.rollback()
    lost = ConnectionLost("ctl2", "gone")
    hybrid.wire.fail("ctl2", "apply_steps", lost, range(steps - 2, steps - 1), late=True)
    with pytest.raises(HybridmsgError, match="gone"):
        hybrid.migrate()
    hybrid.wire.mend()
    run, host = hybrid.run, hybrid.world.hosts["ctl2"]
    assert (run.projects, hybrid.splits()) == (["glance"], [])
    assert hybrid.store.copy(run.run, "ctl2").lines() == host.journals[run.run].entries()
    host.journals.clear()
    assert hybrid.rollback().whole
    assert (hybrid.moved(), hybrid.splits()) == (set(), [])


def test_the_end_closes_holes_in_the_copies_of_the_run_and_of_its_undo(standard: Cloud) -> None:
    standard.rollback()
    fleet = locked(standard)
    for journal in (standard.run.run, f"{standard.run.run}-undo"):
        copy = standard.store.copy(journal, "ctl1")
        copy.replace(copy.lines()[1:])
    record.end(fleet, standard.store, standard.run, "rolled back")
    for journal in (standard.run.run, f"{standard.run.run}-undo"):
        own = standard.world.hosts["ctl1"].journals[journal].entries()
        assert standard.store.copy(journal, "ctl1").lines() == own


def test_every_content_that_a_host_keeps_is_copied(standard: Cloud) -> None:
    run = standard.run.run
    for host in CONTROLLERS:
        kept = standard.world.hosts[host].journals[run]
        blobs = standard.store.copy(run, host).blobs()
        assert {sha256: kept.blob(sha256) for sha256 in blobs} == blobs
        assert len(blobs) >= 4, "two files, before and after"


def test_a_host_has_the_record_with_its_first_step(cloud: Cloud) -> None:
    for host in cloud.deployment.hosts:
        cloud.wire.fail(host, "write_record", Unreachable(host, "the controller died before the end"))
    cloud.migrate()
    assert told(cloud, "ctl1")["run"] == cloud.run.run
    assert told(cloud, "ctl1")["files"] == cloud.run.files


def test_a_host_gets_each_revision_of_the_record_once(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[int, list[int]] = {}
    begin = MemoryJournal.begin

    def seen(journal: MemoryJournal, who: str, when: str, record: dict[str, Any] | None = None) -> None:
        sent.setdefault(id(journal), []).extend([record["revision"]] if record else [])
        begin(journal, who, when, record)

    monkeypatch.setattr(MemoryJournal, "begin", seen)
    cloud.migrate()
    assert all(revisions == sorted(set(revisions)) for revisions in sent.values())
    assert any(len(revisions) > 1 for revisions in sent.values())


def test_the_end_is_told_to_every_host_of_the_run(standard: Cloud, fleet: Fleet) -> None:
    run = standard.run
    assert record.end(fleet, standard.store, run, "failed", "because") == {}
    for host in run.hosts:
        assert (told(standard, host)["state"], told(standard, host)["error"]) == ("failed", "because")
    assert standard.run == run


def test_a_host_out_of_reach_does_not_keep_a_run_from_ending_and_is_named(standard: Cloud, fleet: Fleet) -> None:
    lost = Unreachable("ctl2", "no route")
    standard.wire.fail("ctl2", "write_record", lost)
    standard.wire.calls.clear()
    assert record.end(fleet, standard.store, standard.run, "failed") == {"ctl2": lost}
    assert (standard.run.state, told(standard, "ctl1")["state"]) == ("failed", "failed")
    assert standard.wire.calls[-1][0] == "read_history"
    assert [task for task, host in standard.wire.calls if host == "ctl2"] == ["write_record"], "waited for once only"


def test_a_host_whose_session_was_lost_is_taken_again_and_told(standard: Cloud, fleet: Fleet) -> None:
    standard.wire.fail("ctl2", "write_record", ConnectionLost("ctl2", "gone"), range(1, 2))
    assert record.end(fleet, standard.store, standard.run, "failed") == {}
    assert told(standard, "ctl2")["state"] == "failed"


def test_an_end_forgets_what_nobody_can_need(standard: Cloud, fleet: Fleet, tmp_path: Path) -> None:
    own = standard.store.of(standard.deployment)
    for _ in range(25):
        standard.store.end(own.begin("migrate", tmp_path), "failed")
    run = own.begin("migrate", tmp_path)
    record.end(fleet, standard.store, run, "failed")
    assert len(list(standard.store.runs())) == standard.deployment.journal.runs + 1, "the one that stands is kept too"


def test_another_machine_takes_the_run_from_the_hosts(standard: Cloud, fleet: Fleet, elsewhere: RunStore) -> None:
    record.end(fleet, standard.store, standard.run, "done")
    assert record.adopt_runs(fleet, elsewhere) == list(standard.store.runs())
    assert copied(elsewhere, standard.run.run) == copied(standard.store, standard.run.run)
    assert elsewhere.last_to_undo() == standard.run


def test_hosts_out_of_reach_do_not_keep_another_machine_from_it(
    standard: Cloud, fleet: Fleet, elsewhere: RunStore
) -> None:
    standard.wire.fail("ctl2", "read_history", Unreachable("ctl2", "no route"))
    assert [run.run for run in record.adopt_runs(fleet, elsewhere)] == [standard.run.run]


def test_contents_are_fetched_once_they_are_asked_for(standard: Cloud, fleet: Fleet, elsewhere: RunStore) -> None:
    record.adopt_runs(fleet, elsewhere)
    run = standard.run.run
    for host in CONTROLLERS:
        assert elsewhere.copy(run, host).blobs() == {}
    record.fetch_contents(fleet, elsewhere, run, CONTROLLERS)
    for host in CONTROLLERS:
        assert elsewhere.copy(run, host).blobs() == standard.store.copy(run, host).blobs()
    standard.wire.calls.clear()
    record.fetch_contents(fleet, elsewhere, run, CONTROLLERS)
    assert standard.wire.calls == []


def test_a_host_that_lost_its_disk_gets_its_journal_back(standard: Cloud, fleet: Fleet) -> None:
    run, host = standard.run, standard.world.hosts["ctl1"]
    lost = host.journals.pop(run.run)
    assert record.restore_lost(fleet, standard.store, run, CONTROLLERS) == ["ctl1"]
    found = host.journals[run.run]
    assert found.entries() == lost.entries()
    assert found.about()["record"] == run.document()
    found.check_blobs()


def test_what_a_rollback_stopped_is_put_back_too(standard: Cloud) -> None:
    run, undo = standard.run, f"{standard.run.run}-undo"
    standard.rollback()
    host = standard.world.hosts["ctl1"]
    lost = host.journals.pop(undo).entries()
    host.journals.pop(run.run)
    record.restore_lost(locked(standard), standard.store, standard.run, ["ctl1"])
    assert host.journals[undo].entries() == lost != []


@pytest.mark.parametrize("damaged", [False, True], ids=["lost", "damaged"])
def test_the_journal_of_an_undo_alone_is_put_back(hybrid: Cloud, *, damaged: bool) -> None:
    hybrid.rollback("", "glance")
    undo, host = f"{hybrid.run.run}-undo", hybrid.world.hosts["ctl2"]
    before = host.journals[undo].entries()
    host.journals[undo].replace([{**before[0], "sum": "none"}, *before[1:]] if damaged else [])
    hybrid.world.acts.clear()
    assert hybrid.rollback().whole
    assert host.journals[undo].entries()[: len(before)] == before
    assert (hybrid.run.state, hybrid.splits()) == ("rolled back", [])


def test_a_damaged_journal_of_an_undo_without_a_copy_is_named_before_anything_stops(hybrid: Cloud) -> None:
    hybrid.rollback("", "glance")
    undo = f"{hybrid.run.run}-undo"
    journal = hybrid.world.hosts["ctl2"].journals[undo]
    journal.replace([{**line, "sum": "none"} for line in journal.entries()])
    hybrid.store.copy(undo, "ctl2").replace([])
    hybrid.world.acts.clear()
    with pytest.raises(HostError, match=r"ctl2: .* damaged.*no copy"):
        hybrid.rollback()
    assert hybrid.world.acts == []


def test_hosts_that_lost_nothing_are_left_alone(standard: Cloud, fleet: Fleet) -> None:
    assert record.restore_lost(fleet, standard.store, standard.run, CONTROLLERS) == []
    assert not [call for call in standard.wire.calls if call[0] == "restore_journal"]


def test_a_damaged_journal_is_replaced_by_the_copy(standard: Cloud, fleet: Fleet) -> None:
    run, journal = standard.run, standard.world.hosts["ctl1"].journals[standard.run.run]
    before = journal.entries()
    journal.replace([{**before[0], "target": "another"}, *before[1:]])
    assert record.restore_lost(fleet, standard.store, run, CONTROLLERS) == ["ctl1"]
    assert journal.entries() == before


def test_a_damaged_journal_without_a_copy_is_named(standard: Cloud, fleet: Fleet, elsewhere: RunStore) -> None:
    journal = standard.world.hosts["ctl1"].journals[standard.run.run]
    journal.replace([{**line, "target": "another"} for line in journal.entries()])
    with pytest.raises(HostError, match=r"ctl1: .* damaged.*no copy"):
        record.restore_lost(fleet, elsewhere, standard.run, CONTROLLERS)


def test_a_damaged_copy_is_not_sent(standard: Cloud, fleet: Fleet) -> None:
    standard.world.hosts["ctl1"].journals.pop(standard.run.run)
    [blob, *_] = (standard.store.directory(standard.run.run) / "hosts" / "ctl1" / "blobs").iterdir()
    blob.write_bytes(b"canary")
    with pytest.raises(RecordRefused, match="is damaged"):
        record.restore_lost(fleet, standard.store, standard.run, CONTROLLERS)
    assert standard.run.run not in standard.world.hosts["ctl1"].journals

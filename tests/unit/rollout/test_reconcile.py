"""Reconcile, over a cloud in memory: what drifted is found and repaired, and where nothing did nothing happens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import ConnectionLost, HostError, HybridmsgError, Unreachable
from deployer.journal.store import RunStore
from deployer.rollout import reconcile
from deployer.rollout.reconcile import TRIES, Mode, Reconciled
from tests.unit.plan.cloud import GLANCE, NOVA
from tests.unit.rollout.conftest import Cloud, NewCloud

CHECK, DEEP = Mode(check=True), Mode(deep=True)
HOLD = {"run": "20260101T000000.000000Z-0000", "who": "root@ops1", "when": "2026-01-01T00:00:00+00:00", "projects": []}


@pytest.fixture(autouse=True)
def reached(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reconcile reach the cloud, as conftest lets the other verbs."""
    monkeypatch.setattr(reconcile, "Fleet", cloud.wire.fleet)


def run(cloud: Cloud, mode: Mode = Mode()) -> Reconciled:  # noqa: B008  # frozen
    return reconcile.reconcile(lambda: cloud.deployment, cloud.store, cloud.told, "inventory", mode)


def edit(cloud: Cloud, old: bytes, new: bytes, path: str = GLANCE, host: str = "ctl1") -> None:
    """Change something in a file, as somebody would by hand."""
    content = cloud.world.hosts[host].files[path]
    assert old in content
    cloud.world.write(host, path, content.replace(old, new))


def restart(cloud: Cloud, *units: str, host: str = "ctl1") -> None:
    for unit in units:
        cloud.world.switch(host, unit, "restart")


def stale(cloud: Cloud, path: str, value: bytes, *units: str) -> None:
    """Let services run on other options than their files hold, which are as planned."""
    edit(cloud, value, b"wrong:canary", path)
    restart(cloud, *units)
    edit(cloud, b"wrong:canary", value, path)


def disturbed(cloud: Cloud) -> list[tuple[str, str, str]]:
    """What was done but for questions."""
    return [act for act in cloud.world.acts if act[0] != "ask"]


# Where nothing drifted.


def test_a_cloud_in_line_is_only_asked_and_leaves_no_record(hybrid: Cloud) -> None:
    runs = [one.run for one in hybrid.store.runs()]
    found = run(hybrid)
    assert (found.state, found.drift, found.exit_code, found.run) == ("in line", [], 0, None)
    assert disturbed(hybrid) == []
    assert [one.run for one in hybrid.store.runs()] == runs
    assert set(found.hosts.values()) == {"ok"}


def test_a_shallow_look_takes_three_exchanges_with_each_host(hybrid: Cloud) -> None:
    run(hybrid)
    expected = {
        (task, host) for host in hybrid.deployment.hosts for task in ("lock_host", "read_history", "examine_host")
    }
    assert Counter(hybrid.wire.calls) == Counter(expected)


def test_a_check_takes_two_and_no_lock(hybrid: Cloud) -> None:
    found = run(hybrid, CHECK)
    expected = {(task, host) for host in hybrid.deployment.hosts for task in ("read_history", "examine_host")}
    assert Counter(hybrid.wire.calls) == Counter(expected)
    assert found.exit_code == 0


def test_a_deep_look_asks_brokers_cells_and_servers(hybrid: Cloud) -> None:
    assert run(hybrid, DEEP).state == "in line"
    assert {"read_cells", "probe_bus"} <= {task for task, _ in hybrid.wire.calls}
    assert disturbed(hybrid) == []


@pytest.mark.parametrize("mode", [Mode(), DEEP], ids=["shallow", "deep"])
def test_a_file_changed_for_another_reason_disturbs_nobody(hybrid: Cloud, mode: Mode) -> None:
    for path in (GLANCE, NOVA):
        for host in ("ctl1", "ctl2"):
            edit(hybrid, b"[DEFAULT]\n", b"[DEFAULT]\ndebug = true\n", path, host)
    hybrid.settle()
    for _ in range(2):
        assert run(hybrid, mode).state == "in line"
    assert disturbed(hybrid) == []


def test_services_restarted_by_somebody_disturb_nobody(hybrid: Cloud) -> None:
    run(hybrid)
    restart(hybrid, "nova-conductor", "nova-api")
    run(hybrid)
    edit(hybrid, b"[DEFAULT]\n", b"[DEFAULT]\ndebug = true\n", NOVA)
    hybrid.settle()
    assert run(hybrid).state == "in line"
    assert disturbed(hybrid) == []


# What drifted.


def test_an_option_that_somebody_changed_is_put_right(hybrid: Cloud) -> None:
    edit(hybrid, b"glance:canary", b"wrong:canary")
    found = run(hybrid)
    assert found.state == "repaired"
    assert {(one.kind, one.host, one.project) for one in found.drift} == {("option", "ctl1", "glance")}
    assert found.run is not None
    assert (hybrid.run.run, hybrid.run.command, hybrid.run.state) == (found.run.run, "reconcile", "done")
    assert hybrid.moved() == {"glance@ctl1", "glance@ctl2", "nova@ctl1", "nova@ctl2"}
    assert hybrid.splits() == []
    assert run(hybrid).state == "in line"


def test_a_check_tells_of_it_and_changes_nothing(hybrid: Cloud) -> None:
    edit(hybrid, b"glance:canary", b"wrong:canary")
    hybrid.settle()
    state = sorted(hybrid.store.root.parent.rglob("*"))
    found = run(hybrid, CHECK)
    assert (found.state, found.exit_code) == ("drift", 2)
    assert disturbed(hybrid) == []
    assert sorted(hybrid.store.root.parent.rglob("*")) == state


def test_a_stale_service_is_restarted_once_with_its_project(hybrid: Cloud) -> None:
    run(hybrid)
    edit(hybrid, b"glance:canary", b"wrong:canary")
    restart(hybrid, "glance-api")
    edit(hybrid, b"wrong:canary", b"glance:canary")
    newest = hybrid.run.run
    hybrid.settle()
    found = run(hybrid)
    assert [(one.kind, one.host, one.what) for one in found.drift] == [("stale", "ctl1", "glance-api")]
    assert found.state == "repaired"
    assert ("start", "glance-api", "ctl1") in hybrid.world.acts
    assert not any(verb == "write" for verb, _, _ in hybrid.world.acts)
    assert not any("nova" in unit for _, unit, _ in disturbed(hybrid))
    hybrid.settle()
    assert run(hybrid).state == "in line"
    assert disturbed(hybrid) == []
    assert hybrid.store.last_to_undo().run == newest, "there is nothing to go back to"


def test_what_a_broker_lacks_is_found_by_a_deep_look_only(hybrid: Cloud) -> None:
    rabbitmq = hybrid.world.hosts["msg1"].rabbitmq
    assert rabbitmq is not None
    rabbitmq["definitions"]["permissions"].pop()
    assert run(hybrid).state == "in line"
    found = run(hybrid, Mode(check=True, deep=True))
    assert [(one.kind, one.detail) for one in found.drift] == [("broker", "let user nova use vhost nova")]


@pytest.mark.parametrize(("check", "code"), [(True, 2), (False, 3)], ids=["check", "reconcile"])
def test_a_server_that_does_not_answer_is_told_by_a_deep_look(hybrid: Cloud, *, check: bool, code: int) -> None:
    hybrid.world.silent.add("conductor@ctl1")
    assert run(hybrid, Mode(check=check)).exit_code == 0
    found = run(hybrid, Mode(check=check, deep=True))
    assert (found.state, found.exit_code) == ("drift", code)
    assert {one.kind for one in found.drift} == {"rpc"}


def test_what_cannot_be_repaired_is_told_and_refused(hybrid: Cloud) -> None:
    del hybrid.world.hosts["ctl1"].files[GLANCE]
    assert run(hybrid, CHECK).exit_code == 2
    found = run(hybrid)
    assert (found.state, found.exit_code) == ("failed", 3)
    assert "does not exist" in str(found.error)
    assert "does not exist" in found.drift[0].detail
    assert disturbed(hybrid) == []


def test_a_repair_that_fails_is_recorded_and_told(hybrid: Cloud) -> None:
    edit(hybrid, b"nova:canary", b"wrong:canary", NOVA)
    hybrid.world.silent.add("conductor@ctl1")
    found = run(hybrid)
    assert (found.state, found.ok, found.exit_code) == ("failed", False, 3)
    assert found.drift
    assert "conductor@ctl1" in str(found.error)
    assert (hybrid.run.command, hybrid.run.state) == ("reconcile", "failed")
    assert hybrid.running() == hybrid.ran


def test_what_failed_three_times_in_a_row_is_left_to_a_person(hybrid: Cloud) -> None:
    edit(hybrid, b"nova:canary", b"wrong:canary", NOVA)
    hybrid.world.silent.add("conductor@ctl1")
    for _ in range(TRIES):
        assert "conductor@ctl1" in str(run(hybrid).error)
    hybrid.settle()
    refused = run(hybrid)
    assert f"the last {TRIES} reconciles failed on the same changes" in str(refused.error)
    assert (refused.exit_code, disturbed(hybrid)) == (3, [])
    hybrid.world.silent.clear()
    hybrid.migrate()
    assert run(hybrid).state == "in line"


def test_three_failures_of_other_changes_keep_nobody_from_trying_those_of_now(hybrid: Cloud) -> None:
    run(hybrid)
    stale(hybrid, GLANCE, b"glance:canary", "glance-api")
    hybrid.wire.fail("ctl1", "probe_bus", HostError("ctl1", "no interpreter"))
    for _ in range(TRIES):
        assert "no interpreter" in str(run(hybrid).error)
        stale(hybrid, GLANCE, b"glance:canary", "glance-api")
    hybrid.wire.mend()
    restart(hybrid, "glance-api")
    stale(hybrid, NOVA, b"nova:canary", "nova-conductor", "nova-api")
    found = run(hybrid)
    assert (found.state, {one.project for one in found.drift}) == ("repaired", {"nova"})


# Who is in the way.


@pytest.mark.parametrize("mode", [Mode(), CHECK, DEEP], ids=["shallow", "check", "deep"])
def test_what_a_rollback_holds_is_reported_and_left_alone(hybrid: Cloud, mode: Mode) -> None:
    edit(hybrid, b"glance:canary", b"wrong:canary")
    hybrid.world.hosts["ctl2"].hold = dict(HOLD)
    hybrid.settle()
    found = run(hybrid, mode)
    assert (found.state, found.exit_code, found.error) == ("held", 7, None)
    assert "option" in {one.kind for one in found.drift}
    assert found.hold.keys() == {"ctl2"}
    assert disturbed(hybrid) == []


def test_hosts_that_another_run_holds_end_it(hybrid: Cloud) -> None:
    hybrid.world.hosts["ctl1"].lock = "another"
    found = run(hybrid)
    assert (found.state, found.exit_code) == ("failed", 5)
    assert run(hybrid, CHECK).exit_code == 0


def test_a_host_out_of_reach_ends_it_and_the_others_drift_is_told(hybrid: Cloud) -> None:
    edit(hybrid, b"glance:canary", b"wrong:canary")
    hybrid.settle()
    for task in ("lock_host", "read_history", "examine_host"):
        hybrid.wire.fail("ctl2", task, Unreachable("ctl2", "no route to host"))
    for mode in (Mode(), CHECK):
        found = run(hybrid, mode)
        assert (found.state, found.exit_code, found.hosts["ctl2"]) == ("failed", 4, "unreachable")
        assert {one.host for one in found.drift} == {"ctl1"}
    assert disturbed(hybrid) == []


def test_a_host_that_is_waived_is_left_out(hybrid: Cloud) -> None:
    hybrid.wire.fail("ctl2", "lock_host", Unreachable("ctl2", "no route to host"))
    hybrid.deployment = replace(hybrid.deployment, waive=("ctl2",))
    found = run(hybrid)
    assert (found.state, found.hosts["ctl2"]) == ("in line", "unreachable")


def test_whoever_interrupts_it_is_told_in_the_report_too(hybrid: Cloud) -> None:
    hybrid.wire.cut(2, KeyboardInterrupt(), late=False)
    found = run(hybrid)
    assert (found.state, found.exit_code) == ("failed", 130)


# A run that was cut off.


def test_a_host_that_is_waived_keeps_nothing_from_going_on_after_a_run_was_healed(hybrid: Cloud) -> None:
    hybrid.store.end(hybrid.run, "running")
    for task in ("lock_host", "read_history", "read_hold", "read_facts", "examine_host"):
        hybrid.wire.fail("ctl2", task, Unreachable("ctl2", "no route to host"))
    hybrid.deployment = replace(hybrid.deployment, waive=("ctl2",))
    found = run(hybrid)
    assert (found.error, found.state, len(found.healed)) == (None, "in line", 1)


def cut_off(cloud: Cloud, number: int) -> None:
    """Let a migration die at a request: nothing that it sends or records afterwards gets through."""
    for later in range(number, number + 400):
        cloud.wire.cut(later, ConnectionLost("x", "session lost"), late=False)
    with pytest.raises(HybridmsgError):
        cloud.migrate()
    cloud.wire.mend()
    died = cloud.run
    died.state, died.ended, died.error = "running", None, None
    cloud.store.put(died)


@pytest.mark.parametrize("number", [38, 45, 55, 65, 70])
def test_a_run_that_was_cut_off_is_healed_first_and_the_cloud_ends_in_line(
    new_cloud: NewCloud, standard: Cloud, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    cloud = new_cloud(standard)
    monkeypatch.setattr(reconcile, "Fleet", cloud.wire.fleet)
    cut_off(cloud, number)
    unfinished = cloud.run.run
    checked = run(cloud, CHECK)
    assert (checked.unfinished, checked.exit_code) == ([unfinished], 2)
    found = run(cloud)
    assert found.error is None
    assert [one.run.run for one in found.healed] == [unfinished]
    assert found.ok
    assert cloud.splits() == []
    assert run(cloud).state == "in line"


def test_another_machine_heals_what_only_hosts_know_of(
    new_cloud: NewCloud, standard: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cloud = new_cloud(standard)
    monkeypatch.setattr(reconcile, "Fleet", cloud.wire.fleet)
    cut_off(cloud, 70)
    cut, cloud.store = cloud.run.run, RunStore(tmp_path / "ops2")
    found = run(cloud)
    copies = [cloud.store.copy(cut, host).lines() for host in ("ctl1", "ctl2")]
    assert [lines[0]["status"] for lines in copies] == ["doing", "doing"]
    assert found.healed
    assert found.ok
    assert cloud.splits() == []

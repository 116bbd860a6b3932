from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nornir.core.task import AggregatedResult

from deployer.errors import (
    ConnectionLost,
    GateFailed,
    HostError,
    HostsFailed,
    HybridmsgError,
    Interrupted,
    UndoFailed,
    UnfinishedRun,
    Unreachable,
)
from deployer.journal.copies import HostCopy
from deployer.journal.store import RunStore
from deployer.nornir_plugins.runner import RunInterrupted
from deployer.rollout import reconcile
from tests.unit.plan.cloud import RTR1, RTR2, bare
from tests.unit.rollout.conftest import EVERYTHING, Cloud

GLANCE_ONLY = {"glance@ctl1", "glance@ctl2"}
NOVA_START = range(10, 11)
"""Which request to apply steps starts nova's server on ctl2: glance begins, stops, is written, starts and is confirmed,
nova begins, stops twice and is written."""
NOVA_GATE = range(2, 3)
"""Which request to probe on ctl2 is nova's gate: glance's is the first, and the baseline is asked on ctl1."""


def consumer(queue: str, vhost: str = "nova") -> dict[str, str]:
    return {"vhost": vhost, "queue": queue}


def test_a_migration_moves_every_project_and_ends_as_done(cloud: Cloud) -> None:
    done = cloud.migrate()
    assert cloud.moved() == EVERYTHING
    assert (cloud.run.state, cloud.run.projects) == ("done", ["glance", "nova"])
    assert cloud.run.confirmed == ["glance", "nova"]
    assert all(check.ok for check in done.checks)


def test_a_gate_that_fails_puts_the_whole_project_back_and_leaves_earlier_projects(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl2")
    with pytest.raises(GateFailed, match="conductor@ctl2"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY
    assert (cloud.run.state, cloud.run.projects, cloud.run.confirmed) == ("failed", ["glance"], ["glance"])


def test_a_project_that_a_host_does_not_confirm_goes_back_everywhere(cloud: Cloud) -> None:
    # glance: begin, stop, write, start, confirm.
    cloud.wire.fail("ctl2", "apply_steps", HostError("ctl2", "its guard was faster"), range(5, 6))
    with pytest.raises(HostsFailed, match="its guard was faster"):
        cloud.migrate()
    assert (cloud.moved(), cloud.run.projects, cloud.run.confirmed) == (set(), [], [])


def test_a_host_without_servers_that_gets_no_notification_through_fails_its_gate(cloud: Cloud) -> None:
    cloud.world.silent.add("notification@ctl2")
    with pytest.raises(GateFailed, match="own topic"):
        cloud.migrate()
    assert cloud.moved() == set()


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), Interrupted("ctl2: never started")], ids=["raw", "runner's"])
@pytest.mark.parametrize(("task", "at"), [("apply_steps", NOVA_START), ("probe_bus", NOVA_GATE)])
def test_ctrl_c_puts_the_project_back_and_does_not_call_it_proven(
    cloud: Cloud, signal: BaseException, task: str, at: range
) -> None:
    cloud.wire.fail("ctl2", task, signal, at)
    with pytest.raises(Interrupted) as interrupted:
        cloud.migrate()
    assert "proven: glance;" in str(interrupted.value)
    assert cloud.moved() == GLANCE_ONLY
    assert (cloud.run.state, cloud.run.projects) == ("interrupted", ["glance"])


def interrupted_twice(cloud: Cloud) -> str:
    """Let a migration be broken off and return what is said of where it stands, once nothing is sent any more."""
    with pytest.raises(Interrupted) as interrupted:
        cloud.migrate()
    assert (cloud.run.state, cloud.run.projects, cloud.run.confirmed) == ("split", ["glance", "nova"], ["glance"])
    return str(interrupted.value)


def test_who_asks_twice_to_stop_in_a_step_is_obeyed_at_once_and_learns_what_becomes_of_it(cloud: Cloud) -> None:
    broken_off = RunInterrupted(AggregatedResult("apply_steps"), ["ctl2"], [], twice=True)
    cloud.wire.fail("ctl2", "apply_steps", broken_off, NOVA_START)
    said = interrupted_twice(cloud)
    assert "nova stands between old and new: its hosts put it back by themselves" in said
    assert "`hybridmsg reconcile` heals it" in said
    assert cloud.wire.calls[-1] == ("apply_steps", "ctl2"), "nothing queued starts any more"
    assert cloud.run.outcomes["ctl2"] == "unknown"


def test_who_asks_again_while_a_project_goes_back_is_obeyed_at_once(cloud: Cloud) -> None:
    cloud.wire.fail("ctl2", "apply_steps", KeyboardInterrupt(), NOVA_START)
    cloud.wire.fail("ctl1", "undo_steps", KeyboardInterrupt(), range(1, 2))
    assert "nova stands between old and new" in interrupted_twice(cloud)
    assert cloud.wire.calls[-1] == ("undo_steps", "ctl1")


def test_who_interrupts_the_look_at_the_hosts_is_told_that_nothing_was_changed(cloud: Cloud) -> None:
    cloud.wire.fail("ctl1", "examine_host", KeyboardInterrupt())
    with pytest.raises(Interrupted, match="Nothing was changed") as interrupted:
        cloud.migrate()
    assert set(interrupted.value.hosts.values()) == {"skipped"}
    assert not list(cloud.store.runs())


def test_who_interrupts_the_end_of_a_record_finds_it_ended_here(cloud: Cloud) -> None:
    cloud.wire.fail("ctl1", "write_record", KeyboardInterrupt())
    cloud.migrate()
    assert cloud.run.state == "done"
    assert any("ctl1: interrupted: it was not waited for" in line for line in cloud.told.lines)


def test_a_host_that_cannot_be_told_how_a_run_ended_fails_nothing(cloud: Cloud) -> None:
    cloud.wire.fail("ctl1", "write_record", HostError("ctl1", "disk full"))
    cloud.migrate()
    assert cloud.run.state == "done"
    assert f"ctl1: disk full. It was not told that run {cloud.run.run} is done" in cloud.told.lines


def test_an_undo_that_fails_splits_the_run_and_the_next_migration_is_refused(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl2")
    cloud.wire.fail("ctl2", "undo_steps", HostError("ctl2", "disk full"))
    with pytest.raises(UndoFailed, match="disk full"):
        cloud.migrate()
    assert (cloud.run.state, cloud.run.projects) == ("split", ["glance", "nova"])
    assert cloud.moved() == {*GLANCE_ONLY, "nova@ctl2"}
    cloud.world.silent.clear()
    before = len(cloud.wire.calls)
    with pytest.raises(UnfinishedRun):
        cloud.migrate()
    assert {task for task, _ in cloud.wire.calls[before:]} == {"lock_host", "read_history"}


def test_a_host_whose_session_was_lost_is_taken_again_before_its_project_is_undone(cloud: Cloud) -> None:
    cloud.wire.fail("ctl2", "apply_steps", ConnectionLost("ctl2", "session lost"), NOVA_START)
    with pytest.raises(HostsFailed, match="session lost"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY
    assert cloud.run.state == "failed"


def test_callers_that_go_back_do_not_wait_for_servers_of_a_host_that_is_gone(cloud: Cloud) -> None:
    cloud.wire.fail("ctl2", "apply_steps", ConnectionLost("ctl2", "session lost"), NOVA_START)
    cloud.wire.meanwhile("ctl1", "undo_steps", cloud.world.acts.clear)
    cloud.wire.fail("ctl2", "lock_host", Unreachable("ctl2", "no answer within 10 s"), range(2, 1000))
    with pytest.raises(UndoFailed, match="no answer within"):
        cloud.migrate()
    asked = {what for act, what, _ in cloud.world.acts if act == "ask"}
    assert {"conductor@ctl1"} <= asked
    assert not {what for what in asked if what.endswith("@ctl2")}


def test_a_unit_that_is_dead_after_its_start_fails_the_gate_of_a_project_without_servers(cloud: Cloud) -> None:
    cloud.world.dying.add(("ctl1", "glance-api"))
    with pytest.raises(GateFailed, match=r"glance-api.*is failed"):
        cloud.migrate()
    assert cloud.moved() == set()


def test_a_dead_client_fails_the_gate_of_a_host_whose_servers_answer(cloud: Cloud) -> None:
    cloud.world.dying.add(("ctl1", "nova-api"))
    with pytest.raises(GateFailed, match="nova-api"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY


def test_a_server_that_dies_seconds_after_it_answered_takes_its_project_back(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle(seconds: float) -> None:
        conductor = cloud.world.hosts["ctl2"].units["nova-conductor"]
        conductor.active = "failed" if seconds > 1 and cloud.moved() > GLANCE_ONLY else conductor.active

    cloud.deploy(settle=5)
    monkeypatch.setattr("deployer.rollout.switch.time.sleep", settle)
    with pytest.raises(GateFailed, match=r"nova-conductor.*is failed"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY


def test_a_server_of_no_inventory_host_must_answer_before_its_project_counts_as_moved(cloud: Cloud) -> None:
    rabbitmq = cloud.world.hosts["msg1"].rabbitmq
    assert rabbitmq is not None
    rabbitmq["consumers"] = [consumer("conductor.ctl9")]
    cloud.world.silent.add("conductor@ctl9")
    with pytest.raises(GateFailed, match="conductor@ctl9"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY
    assert cloud.run.projects == ["glance"]


def test_brokers_that_never_become_as_planned_end_the_run_before_any_service_is_touched(cloud: Cloud) -> None:
    cloud.world.hosts["msg1"].rabbitmq = bare(cloud.deployment).rabbitmq
    with pytest.raises(HostError, match=r"msg1: the brokers of rabbitmq are still not as planned"):
        cloud.migrate()
    assert cloud.moved() == set()
    assert (cloud.run.state, cloud.run.projects) == ("failed", [])


def test_an_error_of_the_controller_in_the_middle_of_a_project_still_puts_it_back(cloud: Cloud) -> None:
    cloud.wire.fail("ctl2", "apply_steps", OSError("too many open files"), NOVA_START)
    with pytest.raises(OSError, match="too many open files"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY
    assert (cloud.run.state, cloud.run.projects) == ("failed", ["glance"])


def test_a_host_is_told_to_change_only_once_its_before_image_is_kept(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(HostCopy, "keep", full)
    with pytest.raises(OSError, match="no space left"):
        cloud.migrate()
    assert "write" not in {verb for verb, _, _ in cloud.world.acts}
    assert (cloud.run.state, cloud.run.projects, cloud.splits()) == ("failed", [], [])


def test_an_error_of_the_controller_during_the_undo_splits_the_run_too(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl2")
    cloud.wire.fail("ctl1", "undo_steps", OSError("too many open files"))
    with pytest.raises(UndoFailed, match="too many open files"):
        cloud.migrate()
    assert cloud.run.state == "split"


def test_a_host_that_another_run_holds_ends_the_migration_before_anything(cloud: Cloud) -> None:
    cloud.world.hosts["ctl2"].lock = "somebody-else's"
    with pytest.raises(HybridmsgError, match="ctl2: locked"):
        cloud.migrate()
    assert {task for task, _ in cloud.wire.calls} == {"lock_host"}
    assert not list(cloud.store.runs())


# What others left.

HOLD = {"run": "r1", "who": "ann@ops", "when": "2026-01-01", "projects": ["nova"]}


def test_who_migrates_lifts_what_a_rollback_holds_and_is_told(cloud: Cloud) -> None:
    for name in ("ctl1", "ctl2"):
        cloud.world.hosts[name].hold = HOLD
    cloud.migrate()
    assert [host.hold for host in cloud.world.hosts.values()] == [None] * len(cloud.world.hosts)
    assert [line for line in cloud.told.lines if "held since" in line] == [
        "held since 2026-01-01: ann@ops rolled nova back (run r1); lifted now"
    ]
    assert cloud.wire.calls.count(("set_hold", "msg1")) == 0, "nothing holds it"


def test_a_migration_that_is_refused_leaves_the_hold(cloud: Cloud) -> None:
    cloud.world.hosts["ctl1"].hold = HOLD
    cloud.wire.fail("ctl2", "examine_host", HostError("ctl2", "x"))
    with pytest.raises(HybridmsgError):
        cloud.migrate()
    assert cloud.world.hosts["ctl1"].hold == HOLD


def test_a_run_that_another_machine_began_and_did_not_end_is_not_built_upon(cloud: Cloud, tmp_path: Path) -> None:
    cloud.wire.fail("ctl2", "apply_steps", KeyboardInterrupt(), NOVA_START)
    cloud.wire.fail("ctl1", "undo_steps", KeyboardInterrupt(), range(1, 2))
    interrupted_twice(cloud)
    cloud.wire.mend()
    cloud.store = RunStore(tmp_path / "ops2")
    with pytest.raises(UnfinishedRun):
        cloud.migrate()


@pytest.mark.parametrize("verb", ["migrate", "reconcile"])
def test_a_run_comes_after_those_that_only_hosts_know_of_whatever_the_clock_says(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    ahead = "20990101T000000.000000Z-ffff"
    with monkeypatch.context() as patched:
        patched.setattr(RunStore, "begin_last", lambda _store, run: replace(run, run=ahead))
        cloud.migrate()
    cloud.deploy(RTR1, RTR2)
    cloud.store = RunStore(tmp_path / "ops2")
    if verb == "migrate":
        cloud.migrate()
    else:
        monkeypatch.setattr(reconcile, "Fleet", cloud.wire.fleet)
        reconcile.reconcile(lambda: cloud.deployment, cloud.store, cloud.told, "inventory", reconcile.Mode())
    newest, before = cloud.store.runs()
    assert (newest.command, before.run) == (verb, ahead)
    assert cloud.rollback().run.run == newest.run

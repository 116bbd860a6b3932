from __future__ import annotations

import pytest

from deployer.errors import (
    ConnectionLost,
    GateFailed,
    HostError,
    HostsFailed,
    HybridmsgError,
    Interrupted,
    UndoFailed,
    UnfinishedRun,
)
from deployer.journal.runs import RunStore
from tests.unit.plan.cloud import bare
from tests.unit.rollout.conftest import EVERYTHING, Cloud

GLANCE_ONLY = {"glance@ctl1", "glance@ctl2"}
NOVA_START = range(7, 8)
"""Which request to apply steps starts nova's server on ctl2: glance stops, is written and starts, nova stops twice."""
NOVA_GATE = range(2, 3)
"""Which request to probe on ctl2 is nova's gate: glance's is the first, and the baseline is asked on ctl1."""


def consumer(queue: str, vhost: str = "nova") -> dict[str, str]:
    return {"vhost": vhost, "queue": queue}


def test_a_migration_moves_every_project_and_ends_as_done(cloud: Cloud) -> None:
    done = cloud.migrate()
    assert cloud.moved() == EVERYTHING
    assert (cloud.run.state, cloud.run.projects) == ("done", ["glance", "nova"])
    assert all(check.ok for check in done.checks)


def test_a_gate_that_fails_puts_the_whole_project_back_and_leaves_earlier_projects(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl2")
    with pytest.raises(GateFailed, match="conductor@ctl2"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY
    assert (cloud.run.state, cloud.run.projects) == ("failed", ["glance"])


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
    assert {task for task, _ in cloud.wire.calls[before:]} == {"lock_host"}


def test_a_host_whose_session_was_lost_is_taken_again_before_its_project_is_undone(cloud: Cloud) -> None:
    cloud.wire.fail("ctl2", "apply_steps", ConnectionLost("ctl2", "session lost"), NOVA_START)
    with pytest.raises(HostsFailed, match="session lost"):
        cloud.migrate()
    assert cloud.moved() == GLANCE_ONLY
    assert cloud.run.state == "failed"


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

    monkeypatch.setattr(RunStore, "keep", full)
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

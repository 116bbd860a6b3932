from __future__ import annotations

from dataclasses import replace

import pytest
from nornir.core.task import AggregatedResult

from deployer.errors import (
    REACHABLE,
    ConnectionLost,
    DeadlineExceeded,
    Finding,
    GateFailed,
    HostError,
    HostsFailed,
    HybridmsgError,
    Interrupted,
    Locked,
    PreflightFailed,
    Silence,
    UndoFailed,
    Unreachable,
)
from deployer.nornir_plugins.runner import RunInterrupted
from deployer.plan.steps import Intent, Wave
from deployer.rollout.endings import Tally, telling, untouched
from tests.unit.rollout.conftest import Cloud
from tests.unit.rollout.test_migrate import NOVA_START

HOSTS = ("ctl1", "ctl2", "msg1")
NOVA = Wave("nova: start", "project:nova", {"ctl1": (Intent("x", {}, ""),), "ctl2": (Intent("x", {}, ""),)})
ALL_CHANGED = {"msg1": "ok", "ctl1": "changed", "ctl2": "changed"}
BROKEN_OFF = RunInterrupted(AggregatedResult("x"), ["ctl2"], [], twice=True)


@pytest.fixture
def tally() -> Tally:
    """nova is to be changed on two of three hosts."""
    found = Tally(HOSTS)
    found.plan([NOVA])
    return found


# What a tally makes of what happened.


def test_before_anything_is_planned_every_host_is_skipped() -> None:
    assert Tally(HOSTS).endings() == dict.fromkeys(HOSTS, "skipped")


def test_a_host_of_which_nothing_is_wanted_is_ok_and_one_that_was_not_come_to_is_skipped(tally: Tally) -> None:
    assert tally.endings() == {"ctl1": "skipped", "ctl2": "skipped", "msg1": "ok"}


def test_a_host_that_was_changed_says_so_and_one_where_nothing_had_to_be_is_ok(tally: Tally) -> None:
    tally.done("project:nova", {"ctl1": True, "ctl2": False})
    tally.done("project:nova", {"ctl1": False, "ctl2": False})
    assert tally.endings() == {"ctl1": "changed", "ctl2": "ok", "msg1": "ok"}


def test_a_host_whose_change_was_taken_back_is_skipped_unless_something_else_stands(tally: Tally) -> None:
    tally.done("project:nova", {"ctl1": True, "ctl2": True})
    tally.done("project:glance", {"ctl1": True})
    tally.went_back("project:nova")
    assert tally.endings() == {"ctl1": "changed", "ctl2": "skipped", "msg1": "ok"}


def test_a_host_that_was_left_out_is_unreachable(tally: Tally) -> None:
    tally.leave_out(["ctl2"])
    assert tally.endings()["ctl2"] == "unreachable"


# What it makes of an error.

SILENT = GateFailed("nova", [Silence("nova", "conductor@ctl2", "ctl1", "no answer")])
ELSEWHERE = GateFailed("nova", [Silence("nova", "conductor@ctl9", "ctl1", "no answer")])
DOWN = PreflightFailed([Finding("ctl2", REACHABLE, "failed", "down"), Finding("", "mesh", "failed", "x")])
UNFIT = PreflightFailed([Finding("ctl2", "disk", "failed", "full")])
LOST = ConnectionLost("ctl2", "lost")


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (HostError("ctl2", "x"), "failed"),
        (HostsFailed({"ctl2": HostError("ctl2", "x")}), "failed"),
        (HostsFailed({"ctl2": Locked("ctl2", {})}), "failed"),
        (HostsFailed({"ctl2": Unreachable("ctl2", "x")}), "unreachable"),
        (HostsFailed({"ctl2": LOST}), "unknown"),
        (HostsFailed({"ctl2": DeadlineExceeded("ctl2", "late")}), "unknown"),
        (SILENT, "failed"),
        (DOWN, "unreachable"),
        (UNFIT, "failed"),
        (BROKEN_OFF, "unknown"),
        (UndoFailed("nova", SILENT, HostsFailed({"ctl2": Unreachable("ctl2", "x")})), "unreachable"),
        (UndoFailed("nova", LOST, HostsFailed({"ctl2": Unreachable("ctl2", "x")})), "unknown"),
        (OSError("full"), "skipped"),
    ],
)
def test_an_error_tells_how_its_host_ended(tally: Tally, error: BaseException, ending: str) -> None:
    assert tally.endings(error) == {"ctl1": "skipped", "ctl2": ending, "msg1": "ok"}


def test_a_server_of_no_inventory_host_that_does_not_answer_is_laid_at_whoever_asked(tally: Tally) -> None:
    assert tally.endings(ELSEWHERE) == {"ctl1": "failed", "ctl2": "skipped", "msg1": "ok"}


def test_what_interrupted_a_run_tells_through_the_error_that_is_raised_of_it(tally: Tally) -> None:
    with pytest.raises(Interrupted) as interrupted, telling(tally), untouched():
        raise BROKEN_OFF
    assert str(interrupted.value) == "interrupted. Nothing was changed"
    assert interrupted.value.hosts["ctl2"] == "unknown"


def test_a_host_that_was_lost_and_went_back_since_is_known_to_have_failed(tally: Tally) -> None:
    tally.went_back("project:nova")
    assert tally.endings(LOST)["ctl2"] == "failed"


# In the verbs.


def test_a_migration_tells_how_every_host_ended(cloud: Cloud) -> None:
    assert cloud.migrate().hosts == ALL_CHANGED
    assert cloud.run.outcomes == ALL_CHANGED
    assert cloud.migrate().hosts == dict.fromkeys(ALL_CHANGED, "ok")


def ending(cloud: Cloud) -> dict[str, str]:
    """Let a migration fail and return how the hosts ended, of which the record says the same."""
    with pytest.raises(HybridmsgError) as failed:
        cloud.migrate()
    hosts = dict(failed.value.hosts)
    assert not list(cloud.store.runs()) or cloud.run.outcomes == hosts
    return hosts


def test_a_host_whose_project_went_back_failed_or_was_skipped(cloud: Cloud) -> None:
    cloud.world.dying.add(("ctl2", "glance-api"))
    assert ending(cloud) == {"msg1": "ok", "ctl1": "skipped", "ctl2": "failed"}


def test_what_stands_of_a_migration_that_failed_later_is_told(cloud: Cloud) -> None:
    cloud.world.silent.add("conductor@ctl2")
    assert ending(cloud) == {"msg1": "ok", "ctl1": "changed", "ctl2": "failed"}


def test_a_host_that_was_lost_in_a_step_is_unknown_until_it_is_asked(cloud: Cloud) -> None:
    cloud.wire.fail("ctl2", "apply_steps", ConnectionLost("ctl2", "session lost"), NOVA_START)
    cloud.wire.fail("ctl2", "lock_host", Unreachable("ctl2", "no answer"), range(2, 99))
    assert ending(cloud) == {"msg1": "ok", "ctl1": "changed", "ctl2": "unknown"}


def test_a_host_that_another_run_holds_failed_and_the_others_are_skipped(cloud: Cloud) -> None:
    cloud.world.hosts["ctl2"].lock = "somebody-else's"
    assert ending(cloud) == {"msg1": "skipped", "ctl1": "skipped", "ctl2": "failed"}


def test_a_host_that_is_down_and_waived_is_unreachable(cloud: Cloud) -> None:
    cloud.deployment = replace(cloud.deployment, waive=("ctl2",))
    cloud.wire.fail("ctl2", "lock_host", Unreachable("ctl2", "no answer"))
    assert cloud.migrate().hosts == {"msg1": "ok", "ctl1": "changed", "ctl2": "unreachable"}

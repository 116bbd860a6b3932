"""An unfinished run comes to a whole end: what was not proven is back on all hosts, what was proven stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from deployer.errors import ConnectionLost, HostsFailed, HybridmsgError, Interrupted, Unreachable
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.rollout.heal import Healed, heal
from tasks.steps import undo_steps
from tests.unit.plan.cloud import GLANCE, NOVA
from tests.unit.rollout.conftest import EVERYTHING, OLD, Cloud, NewCloud
from tests.unit.rollout.fake_fleet import Wire
from tests.unit.rollout.test_cut_off import cuts_of

LOST = ConnectionLost("x", "session lost")
NOVAS = {"nova@ctl1", "nova@ctl2"}


class MortalStore(RunStore):
    """The record of a controller that dies at a request: it writes nothing afterwards."""

    def __init__(self, store: RunStore, wire: Wire, number: int) -> None:
        super().__init__(store.root.parent)
        self._wire, self._last = wire, len(wire.calls) + number

    def put(self, run: Run) -> None:
        if len(self._wire.calls) < self._last:
            super().put(run)


def die(cloud: Cloud, verb: Callable[[Cloud], object], number: int) -> None:
    """Let a verb end at a request as kill -9 does it: it sends nothing from then on, and records nothing."""
    living, cloud.store = cloud.store, MortalStore(cloud.store, cloud.wire, number)
    for later in range(number, number + 500):
        cloud.wire.cut(later, LOST, late=False)
    with suppress(HybridmsgError):
        verb(cloud)
    cloud.store = living
    cloud.wire.mend()


def healed(cloud: Cloud) -> Healed:
    """Heal the newest run, as reconcile does: under a run of its own."""
    with cloud.wire.fleet(cloud.deployment, cloud.told) as fleet:
        lost = fleet.take("reconcile")
        assert all(isinstance(error, Unreachable) for error in lost.values())
        return heal(fleet, cloud.store, cloud.told, cloud.run)


def deaths(new_cloud: NewCloud, like: Cloud, verb: Callable[[Cloud], object]) -> Iterator[tuple[Cloud, str]]:
    """Yield what a controller leaves behind that died at any request, where that is an unfinished run."""
    whole = new_cloud(like)
    verb(whole)
    for number in cuts_of([task for task, _ in whole.wire.calls]):
        cloud = new_cloud(like)
        die(cloud, verb, number)
        if cloud.run.unfinished:
            yield cloud, "died at request {}, {} of {}".format(number, *cloud.wire.calls[number - 1])


@pytest.fixture
def ready(standard: Cloud) -> Cloud:
    """A cloud on RabbitMQ, whose routers run already."""
    standard.migrate()
    standard.rollback()
    standard.settle()
    return standard


def test_wherever_a_migration_died_each_project_is_whole_again_and_nothing_waits(
    new_cloud: NewCloud, ready: Cloud
) -> None:
    found = set()
    for cloud, where in deaths(new_cloud, ready, Cloud.migrate):
        healed(cloud)
        assert (cloud.splits(), cloud.run.state) == ([], "failed"), where
        moved = {name.partition("@")[0] for name in cloud.moved()}
        assert {*cloud.run.projects} == {*cloud.run.confirmed} == moved, where
        assert not any(host.pending and host.pending.scopes for host in cloud.world.hosts.values()), where
        assert not any(host.hold for host in cloud.world.hosts.values()), where
        found.add(len(moved))
    assert found == {0, 1, 2}, "some died before, some after a project was proven"


def test_wherever_a_rollback_died_it_is_finished_and_held(new_cloud: NewCloud, hybrid: Cloud) -> None:
    undone = hybrid.run.run
    for cloud, where in deaths(new_cloud, hybrid, Cloud.rollback):
        done = healed(cloud)
        assert (done.run.run, done.rolled_back, cloud.run.state) == (undone, True, "rolled back"), where
        assert (cloud.splits(), cloud.moved(), cloud.world.cells) == ([], set(), cloud.cells), where
        assert {host.name for host in cloud.world.hosts.values() if host.hold} == {*cloud.run.hosts}, where


def test_a_rollback_of_one_project_is_finished_for_that_one(hybrid: Cloud) -> None:
    hybrid.wire.fail("ctl2", "undo_steps", KeyboardInterrupt())
    with pytest.raises(Interrupted):
        hybrid.rollback("", "glance")
    hybrid.wire.mend()
    assert healed(hybrid).projects == ["glance"]
    assert (hybrid.moved(), hybrid.run.state, hybrid.splits()) == (NOVAS, "done", [])


def test_wherever_a_rollback_of_one_project_died_the_others_stay_whoever_goes_on_with_it(
    new_cloud: NewCloud, hybrid: Cloud
) -> None:
    found = set()
    for number, (cloud, where) in enumerate(deaths(new_cloud, hybrid, lambda cloud: cloud.rollback("", "glance"))):
        found.add("glance" in cloud.run.projects)
        (healed if number % 2 else Cloud.rollback)(cloud)
        assert (cloud.moved(), cloud.splits()) == (NOVAS, []), where
        assert (cloud.run.state, cloud.run.projects, cloud.run.held) == ("done", ["nova"], ["glance"]), where
    assert found == {True, False}, "some died before, some after it was recorded as back"


@pytest.mark.parametrize("go_on", [healed, Cloud.rollback])
def test_an_edit_made_while_one_project_went_back_takes_no_other_back(
    new_cloud: NewCloud, hybrid: Cloud, go_on: Callable[[Cloud], object]
) -> None:
    whole = new_cloud(hybrid)
    whole.rollback("", "glance")
    cloud, last = new_cloud(hybrid), whole.wire.calls.count(("undo_steps", "ctl2"))
    cloud.wire.meanwhile("ctl2", "undo_steps", lambda: cloud.world.write("ctl1", GLANCE, OLD + b"# theirs\n"), last)
    cloud.rollback("", "glance")
    assert (cloud.run.state, cloud.run.projects) == ("rolling back", ["nova"])
    go_on(cloud)
    assert (cloud.run.state, cloud.run.projects, "nova@ctl1" in cloud.moved()) == ("done", ["nova"], True)


def test_that_a_run_was_cut_off_outlives_a_rollback_of_one_project_that_was_cut_off_too(cloud: Cloud) -> None:
    cloud.migrate()
    run = cloud.run
    run.confirmed = ["glance"]
    cloud.store.end(run, "running")
    cloud.wire.fail("ctl2", "undo_steps", KeyboardInterrupt())
    with pytest.raises(Interrupted):
        cloud.rollback("", "glance")
    cloud.wire.mend()
    assert cloud.rollback().projects == ["glance"]
    assert (cloud.run.state, cloud.run.projects, cloud.run.unfinished) == ("split", ["nova"], True)


# A project of which some hosts went back.


def go_back(cloud: Cloud, host: str) -> None:
    """Let a host's guard put nova back as it does when nobody confirms it."""
    with cloud.wire.fleet(cloud.deployment, cloud.told) as fleet:
        fleet.lock("guard", [host])
        own = cloud.world.hosts[host].journals[cloud.run.run].entries()
        steps = [one["step"] for one in own if one["scope"] == "project:nova" and one["status"] == "done"]
        options: dict[str, Any] = {"force": False, "record": None, "merged": {}, "keep": lambda *_words: None}
        fleet.run([host], undo_steps, run=cloud.run.run, steps={host: steps}, deadline=1.0, **options)


def test_a_split_project_is_named_and_goes_back_also_when_the_record_says_confirmed(cloud: Cloud) -> None:
    cloud.migrate()
    go_back(cloud, "ctl2")
    cloud.store.end(cloud.run, "running")
    done = healed(cloud)
    assert (done.split, done.projects) == (["nova"], ["nova"])
    assert (cloud.splits(), cloud.moved()) == ([], EVERYTHING - NOVAS)
    assert any(line.startswith("nova stands between old and new") for line in cloud.told.lines)


def proven_and_never_recorded(cloud: Cloud) -> None:
    """Let nova and glance be confirmed on their hosts by a controller that died before it recorded that."""
    cloud.migrate()
    run = cloud.run
    run.confirmed = []
    cloud.store.end(run, "running")


def test_what_all_hosts_were_told_to_keep_stays_also_when_the_record_never_learnt_it(cloud: Cloud) -> None:
    proven_and_never_recorded(cloud)
    assert healed(cloud).projects == []
    assert (cloud.moved(), cloud.splits(), cloud.run.confirmed) == (EVERYTHING, [], ["glance", "nova"])


def test_a_host_that_had_no_part_in_the_run_takes_no_proven_project_back(cloud: Cloud) -> None:
    proven_and_never_recorded(cloud)
    run = cloud.run
    for told in (run.files, run.units):
        told.pop("ctl2")
    run.hosts.remove("ctl2")
    cloud.store.save(run)
    cloud.world.hosts["ctl2"].journals.clear()
    cloud.wire.fail("ctl2", "lock_host", Unreachable("ctl2", "no route"))
    assert (healed(cloud).projects, cloud.run.confirmed) == ([], ["glance", "nova"])


@pytest.mark.parametrize("known", [True, False])
def test_of_a_silent_host_the_copy_says_whether_it_was_told_to_keep_a_project(cloud: Cloud, *, known: bool) -> None:
    proven_and_never_recorded(cloud)
    for task in ("lock_host", "read_history", "read_facts"):
        cloud.wire.fail("ctl2", task, Unreachable("ctl2", "no route"))
    if known:
        assert (healed(cloud).projects, cloud.run.confirmed) == ([], ["glance", "nova"])
        return
    cloud.store.copy(cloud.run.run, "ctl2").replace([])
    with pytest.raises(HostsFailed, match="ctl2: no route"):
        healed(cloud)
    assert cloud.run.confirmed == []


# What stands in the way.


def test_a_host_out_of_reach_does_not_keep_the_others_from_going_back_and_it_is_done_again(
    new_cloud: NewCloud, ready: Cloud
) -> None:
    whole = new_cloud(ready)
    whole.migrate()
    confirm = len(whole.wire.calls) - whole.wire.calls[::-1].index(("apply_steps", "ctl1"))
    cloud = new_cloud(ready)
    die(cloud, Cloud.migrate, confirm)
    assert cloud.moved() >= NOVAS
    for task in ("lock_host", "read_history", "read_facts"):
        cloud.wire.fail("ctl2", task, Unreachable("ctl2", "no route"))
    with pytest.raises(HostsFailed, match="ctl2: no route"):
        healed(cloud)
    assert (cloud.run.state, "nova@ctl1" in cloud.moved()) == ("split", False)
    cloud.wire.mend()
    healed(cloud)
    assert (cloud.splits(), cloud.run.state) == ([], "failed")


def test_a_file_that_somebody_changed_in_the_way_is_named_and_nothing_is_touched(cloud: Cloud) -> None:
    cloud.migrate()
    run = cloud.run
    run.confirmed = ["glance"]
    for host in ("ctl1", "ctl2"):
        journal = cloud.world.hosts[host].journals[run.run]
        journal.replace([line for line in journal.entries() if line["kind"] != "commit.confirm"])
    cloud.store.end(run, "running")
    cloud.world.write("ctl1", NOVA, b"somebody's")
    cloud.world.acts.clear()
    with pytest.raises(HostsFailed, match=NOVA):
        healed(cloud)
    assert (cloud.world.acts, cloud.run.state) == ([], "split")

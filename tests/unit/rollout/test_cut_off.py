"""Wherever a run is cut off, the cloud is whole, or is made so by a rollback.

Each test cuts the verb off at its first request, on a cloud like it at a later one, and so on to the last: before the
host got the request, or (`late`) once it had done as it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby

import pytest

from deployer.errors import ConnectionLost, HostError, HybridmsgError, Interrupted
from tests.unit.rollout.conftest import Cloud, NewCloud

CTRL_C, LOST, FAILED = KeyboardInterrupt(), ConnectionLost("x", "session lost"), HostError("x", "disk full")
HARDLY_ANY = 20
ASKING = {"read_history", "read_blobs", "read_facts", "read_queues", "read_router", "read_cells", "probe_bus"}


def everywhere(
    new_cloud: NewCloud, like: Cloud, verb: Callable[[Cloud], object], error: BaseException, *, late: bool
) -> Iterator[tuple[Cloud, str]]:
    """Yield what each cut leaves behind, with nothing wrong any more, and where it was cut."""
    whole = new_cloud(like)
    with suppress(HybridmsgError):
        verb(whole)
    numbers = list(cuts_of([task for task, _ in whole.wire.calls]))
    assert len(numbers) > HARDLY_ANY
    for number in numbers:
        cloud = new_cloud(like)
        cloud.wire.cut(number, error, late=late)
        with suppress(HybridmsgError, KeyboardInterrupt):
            verb(cloud)
        cloud.wire.mend()
        task, host = cloud.wire.calls[number - 1]
        yield cloud, f"cut off at request {number}, {task} of {host}"


def cuts_of(tasks: list[str]) -> Iterator[int]:
    """Yield the first and the last request of each wave; of questions that follow each other, of the first wave only.

    Between them the hosts are the same, or one host further of several that are alike.
    """
    asked = False
    for task, wave in groupby(enumerate(tasks, 1), key=lambda one: one[1]):
        places = [number for number, _ in wave]
        if not (asked and task in ASKING):
            yield from sorted({places[0], places[-1]})
        asked = task in ASKING


@pytest.fixture
def ready(hybrid: Cloud) -> Cloud:
    """A cloud on RabbitMQ, whose routers run already."""
    hybrid.rollback()
    hybrid.settle()
    return hybrid


cuts = pytest.mark.parametrize(
    ("error", "late"),
    [(CTRL_C, True), (LOST, False), (LOST, True), (FAILED, False)],
    ids=["ctrl-c", "session lost", "session lost late", "failed"],
)


@cuts
def test_a_migration_leaves_every_project_whole_on_one_bus(
    new_cloud: NewCloud, ready: Cloud, error: BaseException, *, late: bool
) -> None:
    for cloud, where in everywhere(new_cloud, ready, Cloud.migrate, error, late=late):
        assert cloud.splits() == [], where
        assert not any(run.unfinished for run in cloud.store.runs()), where
        moved = {name.partition("@")[0] for name in cloud.moved()}
        assert {*cloud.run.projects} == moved or not moved, where


@cuts
def test_a_rollback_can_be_run_again_and_ends_whole(
    new_cloud: NewCloud, hybrid: Cloud, error: BaseException, *, late: bool
) -> None:
    undone = hybrid.run.run
    for cloud, where in everywhere(new_cloud, hybrid, Cloud.rollback, error, late=late):
        assert error is not CTRL_C or cloud.splits() == [], where
        if cloud.run.state != "rolled back":
            assert cloud.rollback().whole, where
        assert (cloud.run.run, cloud.run.state) == (undone, "rolled back"), where
        assert (cloud.splits(), cloud.moved(), cloud.world.cells) == ([], set(), cloud.cells), where


@pytest.mark.parametrize("late", [False, True], ids=["request lost", "answer lost"])
def test_a_migration_that_fails_and_whose_undo_is_cut_off_is_made_whole_by_a_rollback(
    new_cloud: NewCloud, ready: Cloud, *, late: bool
) -> None:
    ready.world.deaf.add(("conductor@ctl2", "10.0.0.31"))
    split = 0
    for cloud, where in everywhere(new_cloud, ready, Cloud.migrate, LOST, late=late):
        if cloud.run.unfinished:
            split += 1
            assert cloud.rollback().whole, where
            assert (cloud.moved(), cloud.world.cells) == (set(), cloud.cells), where
        assert cloud.splits() == [], where
    assert split > 0


def test_ctrl_c_does_not_keep_a_migration_that_fails_from_putting_its_project_back(
    new_cloud: NewCloud, ready: Cloud
) -> None:
    ready.world.deaf.add(("conductor@ctl2", "10.0.0.31"))
    for cloud, where in everywhere(new_cloud, ready, Cloud.migrate, CTRL_C, late=True):
        assert not any(run.unfinished for run in cloud.store.runs()), where
        assert cloud.splits() == [], where


def test_a_rollback_that_is_cut_off_twice_ends_whole_the_third_time(new_cloud: NewCloud, hybrid: Cloud) -> None:
    def cut_off_halfway(cloud: Cloud) -> object:
        with suppress(Interrupted):
            return cloud.rollback()
        cloud.wire.mend()
        cloud.wire.fail("ctl2", "undo_steps", CTRL_C)
        return cloud.rollback()

    for cloud, where in everywhere(new_cloud, hybrid, cut_off_halfway, CTRL_C, late=True):
        assert cloud.run.state == "rolled back" or cloud.rollback().whole, where
        assert (cloud.splits(), cloud.moved(), cloud.world.cells) == ([], set(), cloud.cells), where

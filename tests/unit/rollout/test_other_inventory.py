"""Runs of another cloud that is deployed from the same machine are nobody's business here."""

from __future__ import annotations

import pytest

from deployer.journal.run import Run, State
from deployer.rollout import history, reconcile
from deployer.rollout.reconcile import Mode, Reconciled
from tests.unit.rollout.conftest import EVERYTHING, Cloud


def other_run(cloud: Cloud, state: State, projects: list[str]) -> Run:
    """Record a run of a cloud whose hosts have the same names and other addresses, newer than any here."""
    addresses = {name: f"192.0.2.{place}" for place, name in enumerate(cloud.deployment.hosts)}
    name, began = "20990101T000000.000000Z-aaaa", "2099-01-01T00:00:00+00:00"
    run = Run(name, "migrate", "bob@ops", began, "/etc/other", state, hosts=["ctl1"], addresses=addresses)
    run.units, run.projects = {"ctl1": {}}, projects
    cloud.store.save(run)
    return run


def reconciled(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Reconciled:
    monkeypatch.setattr(reconcile, "Fleet", cloud.wire.fleet)
    return reconcile.reconcile(lambda: cloud.deployment, cloud.store, cloud.told, "inventory", Mode())


@pytest.mark.parametrize("projects", [[], ["nova"]], ids=["at its brokers", "at nova"])
def test_a_run_of_another_cloud_that_goes_on_is_not_healed(
    hybrid: Cloud, monkeypatch: pytest.MonkeyPatch, projects: list[str]
) -> None:
    other = other_run(hybrid, "running", projects)
    done = reconciled(hybrid, monkeypatch)
    assert (done.error, done.state, done.unfinished, done.healed) == (None, "in line", [], [])
    assert hybrid.store.find(other.run) == other


def test_a_run_of_another_cloud_that_was_cut_off_keeps_nobody_from_migrating(cloud: Cloud) -> None:
    other_run(cloud, "running", ["nova"])
    cloud.migrate()
    assert cloud.moved() == EVERYTHING


def test_a_rollback_takes_the_newest_run_of_this_cloud(cloud: Cloud) -> None:
    cloud.migrate()
    other = other_run(cloud, "done", ["heat"])
    assert cloud.rollback().projects == ["nova", "glance"]
    assert cloud.moved() == set()
    assert cloud.store.find(other.run) == other


def test_what_is_undone_here_is_none_the_less_so_for_a_later_run_of_another_cloud(cloud: Cloud) -> None:
    cloud.migrate()
    mine = cloud.run.run
    other_run(cloud, "done", ["nova"])
    assert cloud.rollback(mine).projects == ["nova", "glance"]


def test_the_history_of_a_cloud_has_its_own_runs(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "Fleet", cloud.wire.fleet)
    cloud.migrate()
    mine = cloud.run.run
    other = other_run(cloud, "done", ["nova"])
    assert [run.run for run in history.history(cloud.deployment, cloud.store, cloud.told).runs] == [mine]
    assert history.show(cloud.deployment, cloud.store, cloud.told, "last").run.run == mine
    assert [run.run for run in history.history(None, cloud.store, cloud.told).runs] == [other.run, mine]


def test_a_cloud_whose_inventory_moved_to_another_place_knows_its_runs(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.migrate()
    moved = cloud.run
    moved.inventory = "/elsewhere"
    cloud.store.save(moved)
    assert reconciled(cloud, monkeypatch).state == "in line"
    assert cloud.rollback().projects == ["nova", "glance"]

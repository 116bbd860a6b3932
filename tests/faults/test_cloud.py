"""One step of each kind that a whole cloud has: agent and controller killed there, in a migration and in a rollback."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.faults import inject
from tests.faults.controller import Controller, Point
from tests.lab import Lab
from tests.lab.cloud import INVENTORY, SERVICE_HOSTS, add_routers, fingerprints
from tests.lab.conftest import had
from tests.lab.e2e import cells
from tests.lab.e2e.conftest import BROKERS, ROUTERS
from tests.lab.layout import DEFAULT_NAME

pytestmark = pytest.mark.timeout(2400)
WHO = ("agent", "controller")
CUT_OFF = ("running", "split", "rolling back")


@pytest.fixture(scope="module")
def cloud() -> Iterator[Controller]:
    """The cloud as its images have it, with an inventory that wants routers; nova's cell has a literal URL."""
    with had("the lab"):
        lab = Lab.ensure(os.environ.get("HYBRIDMSG_LAB_NAME", DEFAULT_NAME))
    if not set(SERVICE_HOSTS) <= set(lab.hosts):
        pytest.skip("this lab has no cloud")
    hosts = (*BROKERS, *SERVICE_HOSTS)
    lab.reset(*hosts, "ops1")
    inject.install(lab, hosts)
    cells.make_literal(lab)
    add_routers(lab, *ROUTERS)
    yield Controller(lab, INVENTORY, hosts, seconds=900)
    cells.make_template(lab)


def test_killed_at_a_step_of_each_kind(cloud: Controller, subtests: pytest.Subtests) -> None:
    before, cell = fingerprints(cloud.lab), cells.mappings(cloud.lab)
    there: set[tuple[str, bool, str]] = set()
    cut_off = False
    while chosen := next_of(to_migrate(cloud), there):
        # `migrate` refuses after a run that was cut off, and `reconcile` after three that failed on the same changes.
        verb = "reconcile" if cut_off or chosen[0] == "agent" else "migrate"
        tried(cloud, subtests, chosen, "doing", verb, there)
        cut_off = chosen[0] == "controller"
    cloud.done("reconcile", "--deep")
    cloud.done("verify")
    back: set[tuple[str, bool, str]] = set()
    while chosen := next_of(to_roll_back(cloud), back):
        tried(cloud, subtests, chosen, "undoing", "rollback", back)
    roll_back(cloud)
    assert fingerprints(cloud.lab) == before
    assert cells.mappings(cloud.lab) == cell
    switched = {(who, True, kind) for who in WHO for kind in ("file.write", "unit.start", "nova.cells")}
    assert switched | {(who, False, "package.install") for who in WHO} <= there
    assert switched <= back


def tried(
    cloud: Controller,
    subtests: pytest.Subtests,
    chosen: tuple[str, dict[str, Any]],
    place: str,
    verb: str,
    so_far: set[tuple[str, bool, str]],
) -> None:
    """Kill what was chosen, in a run of a verb, and remember that."""
    who, step = chosen
    so_far.add((who, *_kind(step)))
    with subtests.test(verb=verb, who=who, kind=step["kind"], scope=step["scope"]):
        kill(cloud, who, step, place, verb)


def next_of(steps: Iterable[dict[str, Any]], so_far: set[tuple[str, bool, str]]) -> tuple[str, dict[str, Any]] | None:
    """Return who is killed next and at which step: one of a kind at which that one was not killed yet."""
    return next(((who, one) for one in steps for who in WHO if (who, *_kind(one)) not in so_far), None)


def _kind(step: dict[str, Any]) -> tuple[bool, str]:
    """Return a step's kind, apart for backends and for projects."""
    return step["scope"].startswith("project:"), step["kind"]


def kill(cloud: Controller, who: str, step: dict[str, Any], place: str, verb: str) -> None:
    """Kill the agent or the controller of a run of a verb at the first step of this kind that its host comes to.

    Only the kind tells it again: a run that heals another one plans anew.
    """
    point = Point(step["host"], f"{place}@{step['kind']}#1", 0, step["kind"])
    if who == "agent":
        ended = cloud.agent_killed(point, verb)
        assert "ended before" in ended.err, f"{point} was never come to: {ended.err[-3000:]}"
    else:
        cloud.controller_killed(point, verb)


def to_migrate(cloud: Controller) -> list[dict[str, Any]]:
    """Return the steps that are still to be done: a new plan, for what a killed run left changes it."""
    ended = cloud.run("plan")
    assert ended.code in (0, 2), ended.err[-3000:]
    return list(ended.document["steps"])


def to_roll_back(cloud: Controller) -> list[dict[str, Any]]:
    """Return the steps of services that the next rollback undoes, newest first; before them nova's cells.

    By the hosts' journals, of the run that it chooses: one that was cut off, else the newest that stands.
    """
    while runs := sorted(standing(cloud), key=lambda one: one["state"] not in CUT_OFF):
        found = []
        for host in SERVICE_HOSTS:
            last = {line["step"]: {**line, "host": host} for line in cloud.journal(host, runs[0]["run"])}
            found += [one for one in reversed(last.values()) if one["status"] != "undone"]
        steps = [one for one in found if one["scope"].startswith("project:")]
        if steps:
            return sorted(steps, key=lambda one: one["kind"] != "nova.cells")
        # All of it is back, and it was cut off before that was recorded.
        cloud.done("rollback")
    return []


def standing(cloud: Controller) -> list[dict[str, Any]]:
    """Return the runs that left a project changed, newest first."""
    return [one for one in cloud.done("history")["runs"] if one["projects"]]


def roll_back(cloud: Controller) -> None:
    """Take back every run that is left to be undone."""
    while left := standing(cloud):
        cloud.done("rollback", "--purge-leftovers")
        assert len(standing(cloud)) < len(left)

"""Where faults strike: every step of a migration and of a rollback, as the plan and the hosts' journals tell them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.faults.controller import Point
from tests.faults.site import LIGHT, Site

_DO = ("doing", "done", "ended")
_UNDO = ("undoing", "undone", "undone-ended")
"""Begun and not acted upon, acted upon and not told, told: which of them a step is cut at goes round."""


def of_migration(steps: Iterable[dict[str, Any]]) -> list[Point]:
    """Return a point for each of a plan's steps."""
    return [
        Point(step["host"], f"{_DO[number % 3]}@{step['id']}", number + 1, step["kind"])
        for number, step in enumerate(steps)
    ]


def of_rollback(site: Site, run: str) -> list[Point]:
    """Return a point for each thing that the rollback of a run did on the light hosts.

    What it stopped has step numbers of its own, drawn from the clock: an agent counts them, and so does this.
    """
    return [point for host in LIGHT for point in _of_host(_rolled_back(site, host, run), host)]


def _of_host(lines: Iterable[dict[str, Any]], host: str) -> list[Point]:
    counted: Counter[str] = Counter()
    points = []
    for number, line in enumerate(lines):
        counted[line["status"]] += 1
        places = _UNDO if line["status"] == "undoing" else _DO
        spec = f"{places[number % 3]}#{counted[line['status']]}"
        points.append(Point(host, spec, number + 1, line["kind"]))
    return points


def _rolled_back(site: Site, host: str, run: str) -> list[dict[str, Any]]:
    """Return the first line of each thing that the rollback did on the host, oldest first."""
    own, stops = (site.journal(host, name) for name in (run, f"{run}-undo"))
    began = [line for line in own if line["status"] == "undoing"]
    began += [line for line in stops if line["status"] in ("doing", "undoing")]
    return sorted(began, key=lambda line: str(line["at"]))

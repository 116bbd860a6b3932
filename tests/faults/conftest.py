"""The site as a fixture, the points where faults strike as parameters, and the table of what came of each."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.faults import points
from tests.faults.controller import Point
from tests.faults.site import LIGHT, Site
from tests.lab import Lab
from tests.lab.conftest import had
from tests.lab.layout import DEFAULT_NAME

_POINTS = {"migrate_point": "migration", "rollback_point": "rollback", "phase": "phases"}
_IN_CI = {
    "test_agent_killed_in_a_migration": {"migrate_point": "file.write"},
    "test_controller_killed_in_a_rollback": {"rollback_point": "file.write"},
    "test_host_rebooted_between_steps": {"phase": "unit.start"},
    "test_network_cut": {"phase": "commit.confirm", "how": "rst"},
}
"""Of each of these tests the first case with these parameters is CI's too."""
_CI = "one case of each kind of fault: what CI has time for"


@dataclass(frozen=True)
class Known:
    """What a first migration and its rollback, without faults, told: the beginning, and every step of both."""

    site: Site
    beginning: dict[str, str]
    migration: list[Point]
    rollback: list[Point]

    @property
    def phases(self) -> list[Point]:
        """The first step of each kind on the last host, about to be done."""
        last = [point for point in self.migration if point.host == LIGHT[-1]]
        first = {point.kind: point for point in reversed(last)}
        return [replace(point, spec=f"doing@{point.step}") for point in last if first[point.kind] == point]

    def phase(self, kind: str) -> Point:
        """The first step of a kind on the last host."""
        return next(point for point in self.phases if point.kind == kind)


@cache  # parameters are wanted before fixtures are: both are of one site
def _known() -> Known:
    with had("the lab"):
        site = Site(Lab(os.environ.get("HYBRIDMSG_LAB_NAME", DEFAULT_NAME)))
        site.renew()
        site.lab.up()
    site.prepare()
    beginning = site.fingerprint()
    first = site.done("migrate")["run"]
    site.done("rollback")
    assert site.fingerprint() == beginning
    # Routers outlive a rollback: what is left to do is the switch of relay, every step of it.
    planned = site.done("plan", code=2)["steps"]
    switch, back = points.of_migration(planned), points.of_rollback(site, first)
    return Known(site, beginning, switch, back)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", metavar="FILE", help="append the faults' table to this file, and print none")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"ci: {_CI}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Enumerate the steps from the plan and from the journals of a rollback."""
    for name, part in _POINTS.items():
        if name in metafunc.fixturenames:
            found: list[Point] = getattr(_known(), part)
            metafunc.parametrize(name, found, ids=str)


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what CI runs; let a rollback follow each migration: what one leaves is where the other begins."""
    for name, wanted in _IN_CI.items():
        found = [item for item in items if isinstance(item, pytest.Function) and item.originalname == name]
        for item in [one for one in found if _has(one, wanted)][:1]:
            item.add_marker(pytest.mark.ci)
    there = [item for item in items if "migrate_point" in getattr(item, "fixturenames", ())]
    back = [item for item in items if "rollback_point" in getattr(item, "fixturenames", ())]
    pairs = [item for pair in zip_longest(there, back) for item in pair if item]
    items[:] = [*(item for item in items if item not in pairs), *pairs]


def _has(item: pytest.Function, wanted: dict[str, str]) -> bool:
    """Tell whether a case has these parameters: a point's kind, another's word."""
    own = {name: value.kind if isinstance(value, Point) else value for name, value in item.callspec.params.items()}
    return wanted.items() <= own.items()


@pytest.fixture
def known() -> Known:
    return _known()


@pytest.fixture
def beginning(known: Known) -> dict[str, str]:
    """Every byte, mode, owner and unit state of relay as it was before the first migration to the router."""
    return known.beginning


@pytest.fixture
def on_rabbit(known: Known) -> Site:
    """The site with relay on RabbitMQ, as in the beginning."""
    known.site.to_begin()
    assert known.site.fingerprint() == known.beginning
    return known.site


@pytest.fixture
def on_router(known: Known) -> Site:
    """The site with relay on the router."""
    known.site.to_routers()
    return known.site


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What a test that failed left behind is not what the next one counts on."""
    if report.failed and _known.cache_info().currsize:
        _known().site.doubtful = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, or keep it for whoever joins several: each case, what came of it, and how long it took."""
    reports = [one for found in terminalreporter.stats.values() for one in found if isinstance(one, pytest.TestReport)]
    rows = [_row(one) for one in reports if one.when == "call" or not one.passed]
    file = config.getoption("--table")
    if file:
        with Path(file).open("a", encoding="utf-8") as table:
            table.writelines(f"{row}\n" for row in rows)
    else:
        for row in rows:
            terminalreporter.write_line(row)


def _row(report: pytest.TestReport) -> str:
    case = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
    # A fault among several of one test is told by its own words.
    context = getattr(report, "context", None)
    words = f" {' '.join(map(str, context.kwargs.values()))}" if context is not None else ""
    return f"{report.outcome:7} {report.duration:6.1f} s  {case}{words}"

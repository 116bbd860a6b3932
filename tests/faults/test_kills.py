"""Kill -9 of the agent, and of the controller, at every step of a migration and of a rollback: one command heals it."""

from __future__ import annotations

import pytest

from tests.faults.controller import HELD, Point
from tests.faults.site import Site

pytestmark = pytest.mark.timeout(420)


def test_agent_killed_in_a_migration(on_rabbit: Site, migrate_point: Point) -> None:
    ended = on_rabbit.agent_killed(migrate_point, "migrate")
    assert ended.code != 0, f"{migrate_point} was never come to"
    assert len(on_rabbit.scheme()) == 1, "the project is split, though its controller lives"
    on_rabbit.done("reconcile")
    assert on_rabbit.is_new()


def test_agent_killed_in_a_rollback(on_router: Site, rollback_point: Point, beginning: dict[str, str]) -> None:
    ended = on_router.agent_killed(rollback_point, "rollback")
    assert ended.code != 0, f"{rollback_point} was never come to"
    on_router.done("reconcile", code=HELD)
    assert on_router.fingerprint() == beginning
    assert on_router.answers()


def test_controller_killed_in_a_migration(on_rabbit: Site, migrate_point: Point) -> None:
    on_rabbit.controller_killed(migrate_point, "migrate")
    on_rabbit.done("reconcile")
    assert on_rabbit.is_new()


def test_controller_killed_in_a_rollback(on_router: Site, rollback_point: Point, beginning: dict[str, str]) -> None:
    on_router.controller_killed(rollback_point, "rollback")
    on_router.done("reconcile", code=HELD)
    assert on_router.fingerprint() == beginning
    assert on_router.answers()

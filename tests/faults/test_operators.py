"""People: two at once, one who stops a run, one who changed a file since, and one who was not told of a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Known
from tests.faults.controller import HELD, LOCKED
from tests.faults.site import CONFIG, LIGHT, Site

pytestmark = pytest.mark.timeout(420)
STALE, INTERRUPTED = 6, 130


@contextmanager
def edited(site: Site, host: str, script: str) -> Iterator[None]:
    """relay's file on one host after an edit of somebody else's; as it was before it, at the end of the block."""
    site.lab.run(host, f"cp -a {CONFIG} /root/kept.conf; {script}")
    try:
        yield
    finally:
        site.lab.run(host, f"[ ! -e /root/kept.conf ] || cat /root/kept.conf >{CONFIG}; rm -f /root/kept.conf")


@pytest.mark.parametrize("second", [pytest.param("migrate", marks=pytest.mark.ci), "reconcile", "rollback"])
def test_two_controllers_at_once(on_rabbit: Site, known: Known, second: str) -> None:
    with on_rabbit.paused(known.phase("unit.stop"), "migrate") as first:
        refused = on_rabbit.run(second)
        assert refused.code == LOCKED, refused.err
        on_rabbit.resume(LIGHT[-1])
        assert on_rabbit.end(first).code == 0
    assert on_rabbit.is_new()
    on_rabbit.done("rollback")
    assert on_rabbit.fingerprint() == known.beginning


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(on_rabbit: Site, known: Known, times: int) -> None:
    point = known.phase("file.write")
    with on_rabbit.paused(point, "migrate") as running:
        for _ in range(times):
            running.interrupt()
        if times == 1:
            on_rabbit.resume(point.host)
        ended = on_rabbit.end(running, seconds=120)
    assert ended.code == INTERRUPTED, ended.err
    if times == 1:
        assert on_rabbit.fingerprint() == known.beginning
    on_rabbit.await_agents()
    on_rabbit.heals_and_returns(known.beginning)


def test_rollback_holds_until_it_is_released(on_router: Site, beginning: dict[str, str]) -> None:
    on_router.done("rollback")
    on_router.done("reconcile", code=HELD)
    on_router.done("reconcile", "--check", code=HELD)
    assert on_router.fingerprint() == beginning
    on_router.done("release")
    on_router.done("reconcile", "--check", code=2)
    on_router.done("reconcile")
    assert on_router.is_new()
    before = on_router.live()
    on_router.done("reconcile")
    assert on_router.live() == before, "nothing to do, and something was touched"


def test_rollback_twice_is_once(on_router: Site, known: Known) -> None:
    run = on_router.done("rollback")["run"]
    on_router.done("rollback", str(run))
    assert on_router.fingerprint() == known.beginning


@pytest.mark.ci
def test_others_edits_stay_in_a_rollback(on_router: Site, known: Known) -> None:
    host = LIGHT[-1]
    begun = known.beginning[LIGHT[0]]
    on_router.lab.run(host, f"printf '\\n[theirs]\\nkey = value\\n' >>{CONFIG}")
    done = on_router.run("rollback")
    assert done.code == 0, done.err
    assert on_router.scheme() == {"rabbit"}
    assert "[theirs]" in on_router.lab.read(host, CONFIG).decode()
    assert "theirs" in done.err + str(done.document)
    assert on_router.fingerprint()[LIGHT[0]] == begun
    assert on_router.answers()
    text = on_router.lab.read(host, CONFIG).decode().replace("\n[theirs]\nkey = value\n", "")
    on_router.lab.write(host, CONFIG, text.encode(), mode=0o640)
    assert on_router.fingerprint() == known.beginning


@pytest.mark.ci
def test_conflict_on_our_own_key_stops_a_rollback_unless_forced(on_router: Site, known: Known) -> None:
    host, theirs = LIGHT[-1], "transport_url = amqp://secret-of-theirs@h/"
    with edited(on_router, host, f"sed -i '0,/^transport_url = .*/s||{theirs}|' {CONFIG}"):
        before = on_router.lab.read(LIGHT[0], CONFIG)
        refused = on_router.run("rollback")
        assert refused.code == STALE, refused.err
        assert "transport_url" in refused.err
        assert "secret-of-theirs" not in refused.err + str(refused.document)
        assert on_router.lab.read(LIGHT[0], CONFIG) == before
        on_router.lab.run(host, "rm /root/kept.conf")
        on_router.done("rollback", "--force")
    assert on_router.fingerprint() == known.beginning
    assert on_router.answers()


def test_dry_run_of_a_rollback_changes_nothing(on_router: Site) -> None:
    before = on_router.live()
    on_router.done("rollback", "--dry-run", code=2)
    assert on_router.live() == before

"""A disk that is full, read-only or broken under a file, or under the journal: old or new, never between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Known
from tests.faults.controller import AGENT
from tests.faults.site import Site

pytestmark = pytest.mark.timeout(420)
_COVER = "/run/covered"


@contextmanager
def covered(site: Site, host: str, directory: str) -> Iterator[None]:
    """A directory of the host on a file system of its own, as large as preflight wants it, with what it holds."""
    copy = (
        f"mkdir -p {_COVER} && mount -t tmpfs -o size=256m,mode=755 covered {_COVER} && cp -a {directory}/. {_COVER}/"
    )
    site.lab.run(host, f"{copy} && mount --bind {_COVER} {directory}")
    try:
        yield
    finally:
        # What was written meanwhile is the host's, as on a disk that was given room again.
        room = f"umount -l {directory}; umount -l {directory} 2>/dev/null; rm -f {_COVER}/ballast"
        keep = f"find {directory} -mindepth 1 -delete; cp -a {_COVER}/. {directory}/; umount -l {_COVER}"
        site.lab.run(host, f"{room}; {keep}")


FULL = "cat /dev/zero >{}/ballast 2>/dev/null || true"
# A second mount above the first: that one has files open for writing, and cannot become read-only.
READ_ONLY = f"mount --bind {_COVER} {{0}} && mount -o remount,ro,bind {{0}}"
CASES = [
    pytest.param("/etc/relay", "file.write", FULL, id="under the file, full", marks=pytest.mark.ci),
    pytest.param("/etc/relay", "file.write", READ_ONLY, id="under the file, read-only"),
    pytest.param(AGENT, "commit.begin", FULL, id="under the journal, full"),
    pytest.param(AGENT, "commit.begin", READ_ONLY, id="under the journal, read-only"),
    pytest.param(AGENT, "file.write", READ_ONLY, id="under the journal, read-only in the middle"),
]


@pytest.mark.parametrize(("directory", "kind", "then"), CASES)
def test_disk(on_rabbit: Site, known: Known, directory: str, kind: str, then: str) -> None:
    point = known.phase(kind)
    with covered(on_rabbit, point.host, directory):
        with on_rabbit.paused(point, "migrate") as running:
            on_rabbit.lab.run(point.host, then.format(directory))
            on_rabbit.lab.run(point.host, f"rm -f {_COVER}/paused {AGENT}/paused")
            ended = on_rabbit.end(running)
        assert (ended.code, point.host in ended.err) == (3, True), ended.err
        on_rabbit.await_agents()
    on_rabbit.heals_and_returns(known.beginning)


@pytest.mark.parametrize(
    "fault",
    ["fsync{}#1=eio", "fsync{}#2=enospc", "fsync{}#3=eio", "rename{}#1=enospc"],
)
def test_failing_once_in_a_migration(on_rabbit: Site, known: Known, fault: str) -> None:
    write = known.phase("file.write")
    with on_rabbit.fault(write.host, fault.format(f"@{write.step}")):
        ended = on_rabbit.run("migrate")
    assert (ended.code, write.host in ended.err) == (3, True), ended.err
    assert on_rabbit.fingerprint() == known.beginning
    on_rabbit.heals_and_returns(known.beginning)


@pytest.mark.parametrize("fault", ["fsync{}=eio", "rename{}=enospc"])
def test_failing_until_it_is_mended(on_rabbit: Site, known: Known, fault: str) -> None:
    """Neither forward nor back while it lasts: that is told, and the host tries by itself when its time is over."""
    write = known.phase("file.write")
    with on_rabbit.fault(write.host, fault.format(f"@{write.step}")):
        ended = on_rabbit.run("migrate")
    assert (ended.code, write.host in ended.err) == (3, True), ended.err
    on_rabbit.heals_and_returns(known.beginning)


@pytest.mark.parametrize("fault", ["fsync{}=eio", "rename{}=enospc"])
def test_failing_in_a_rollback(on_router: Site, known: Known, fault: str) -> None:
    write = known.phase("file.write")
    with on_router.fault(write.host, fault.format(f"@{write.step}")):
        ended = on_router.run("rollback")
    assert ended.code == 3, ended.err
    on_router.done("rollback")
    assert on_router.fingerprint() == known.beginning
    assert on_router.answers()

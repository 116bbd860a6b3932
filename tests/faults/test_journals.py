"""Records that are damaged or lost, on a host or on the controller; and what no record may hold."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Known
from tests.faults.controller import AGENT
from tests.faults.site import CONTROLLER, LIGHT, Site
from tests.lab.layout import OPERATOR

pytestmark = pytest.mark.timeout(420)
_FLIP = "import sys; p = sys.argv[1]; b = bytearray(open(p, 'rb').read()); b[len(b) // 2] ^= 1; open(p, 'wb').write(b)"


def flip(site: Site, host: str, path: str) -> None:
    """Change one bit in the middle of a file."""
    site.lab.run(host, ["python3", "-c", _FLIP, path])


def newest(site: Site) -> str:
    """Return the newest run."""
    return str(site.done("history", "--local")["runs"][0]["run"])


def before_image(site: Site, host: str, run: str) -> str:
    """Return the path of the before-image of relay's file."""
    [line, *_] = [line for line in site.journal(host, run) if line["kind"] == "file.write"]
    return f"{AGENT}/runs/{run}/blobs/{line['before']['sha256']}"


@pytest.mark.parametrize("what", ["journal", pytest.param("before-image", marks=pytest.mark.ci)])
def test_flipped_byte_is_refused_by_name_and_the_controllers_copy_heals_it(
    on_router: Site, known: Known, what: str
) -> None:
    host, run = LIGHT[-1], newest(on_router)
    path = f"{AGENT}/runs/{run}/journal.jsonl" if what == "journal" else before_image(on_router, host, run)
    flip(on_router, host, path)
    on_router.lab.run(OPERATOR, f"mv {CONTROLLER} {CONTROLLER}.away")
    try:
        before = on_router.live()
        refused = on_router.run("rollback", run)
        assert refused.code not in (0, 2), refused.err
        assert path.rpartition("/")[2] in refused.err
        assert on_router.live() == before
    finally:
        on_router.lab.run(OPERATOR, f"rm -rf {CONTROLLER}; mv {CONTROLLER}.away {CONTROLLER}")
    on_router.done("rollback")
    assert on_router.fingerprint() == known.beginning
    assert on_router.answers()


@pytest.mark.ci
def test_rollback_from_another_machine(on_router: Site, known: Known) -> None:
    """Nothing of the controller's record is left: the hosts' journals are enough."""
    run = newest(on_router)
    on_router.lab.run(OPERATOR, f"mv {CONTROLLER} {CONTROLLER}.away")
    try:
        assert run in [one["run"] for one in on_router.done("history")["runs"]]
        on_router.done("show", run)
        on_router.done("rollback")
        assert on_router.fingerprint() == known.beginning
        assert on_router.answers()
    finally:
        # What that machine did is in the hosts' journals, and this one is to learn it from there.
        on_router.lab.run(OPERATOR, f"rm -rf {CONTROLLER}; mv {CONTROLLER}.away {CONTROLLER}")


@pytest.mark.ci
def test_rollback_after_a_host_lost_its_disk(on_router: Site, known: Known) -> None:
    on_router.lab.run(LIGHT[-1], f"rm -rf {AGENT}")
    on_router.done("rollback")
    assert on_router.fingerprint() == known.beginning
    assert on_router.answers()


def test_interrupted_run_is_healed_from_another_machine(on_rabbit: Site, known: Known) -> None:
    on_rabbit.controller_killed(known.phase("unit.start"), "migrate")
    on_rabbit.lab.run(OPERATOR, f"mv {CONTROLLER} {CONTROLLER}.away")
    try:
        on_rabbit.heals_and_returns(known.beginning)
    finally:
        on_rabbit.lab.run(OPERATOR, f"rm -rf {CONTROLLER}; mv {CONTROLLER}.away {CONTROLLER}")

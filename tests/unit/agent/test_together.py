"""Units that start, or that stop, one after another do so at once; shown with a systemd that waits for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.agent.errors import StepError
from tests.unit.agent.client import file_step, step
from tests.unit.agent.conftest import Programs, Run

# A unit's change ends only when as many are under way as in the file `wanted`, or fails after 5 s; b.service fails.
WAITING = """
import pathlib, time
here = pathlib.Path(__file__).parent
verb, unit = argv[0], argv[-1]
wanted = json.loads((here / "wanted").read_text())
if verb == "show":
    for name in argv[argv.index("--") + 1:]:
        at = here / name
        active = at.read_text() if at.exists() else wanted["active"]
        result = "timeout" if name == wanted["killed"] else "success"
        print(f"Id={name}\\nNames={name}\\nLoadState=loaded\\nActiveState={active}\\nResult={result}")
        print("UnitFileState=enabled\\nMainPID=0\\nNeedDaemonReload=no\\n")
if verb in ("start", "stop", "restart"):
    (here / f"{verb}-{unit}.began").touch()
    until = time.monotonic() + 5
    while len(list(here.glob(f"{verb}-*.began"))) < wanted["at_once"]:
        if time.monotonic() > until: sys.exit(9)
        time.sleep(0.01)
    if unit == wanted["fails"]: sys.exit(3)
    (here / unit).write_text("inactive" if verb == "stop" else "active")
"""


@pytest.fixture
def waiting(programs: Programs) -> Programs:
    programs.add("systemctl", WAITING)
    programs.add("journalctl")
    return programs


def expect(programs: Programs, at_once: int, active: str = "active", fails: str = "", killed: str = "") -> None:
    wanted = f'{{"at_once": {at_once}, "active": "{active}", "fails": "{fails}", "killed": "{killed}"}}'
    (programs.directory / "wanted").write_text(wanted)


def each(kind: str, *units: str, timeout: float = 20) -> list[dict[str, Any]]:
    return [step(kind, f"{kind} {unit}", unit=f"{unit}.service", timeout=timeout) for unit in units]


def journaled(run: Run) -> list[tuple[str, str]]:
    return [(line["status"], line["step"].split()[-1]) for line in run.journal.entries()]


@pytest.mark.parametrize(("kind", "active"), [("unit.stop", "active"), ("unit.start", "inactive")])
def test_neighbours_are_carried_out_at_once_and_told_in_order(
    run: Run, waiting: Programs, kind: str, active: str
) -> None:
    expect(waiting, 3, active)
    results = run.apply(*each(kind, "a", "b", "c"))
    assert [result["id"].split()[-1] for result in results] == ["a", "b", "c"]
    begun, ended = [("doing", unit) for unit in "abc"], [("done", unit) for unit in "abc"]
    assert journaled(run) == begun + ended
    assert [(event["status"], event["step"].split()[-1]) for event in run.events] == begun + ended


@pytest.mark.parametrize("active", ["active", "inactive"])
def test_they_are_undone_at_once(run: Run, waiting: Programs, active: str) -> None:
    kind, undone = ("unit.stop", "start") if active == "active" else ("unit.start", "stop")
    expect(waiting, 3, active)
    run.apply(*each(kind, "a", "b", "c"))
    assert [result["id"].split()[-1] for result in run.undo()] == ["c", "b", "a"]
    assert {argv[-1] for argv in waiting.argvs("systemctl") if argv[0] == undone} == {
        f"{unit}.service" for unit in "abc"
    }
    assert journaled(run)[-3:] == [("undone", unit) for unit in "cba"]


def test_restarts_go_one_after_the_other(run: Run, waiting: Programs) -> None:
    expect(waiting, 1)
    run.apply(*each("unit.restart", "a", "b"))
    assert journaled(run) == [("doing", "a"), ("done", "a"), ("doing", "b"), ("done", "b")]


def test_starts_wait_for_the_stops_before_them(run: Run, waiting: Programs) -> None:
    expect(waiting, 1)
    run.apply(*each("unit.stop", "a", "b"), *each("unit.start", "a"))
    assert journaled(run) == [
        ("doing", "a"),
        ("doing", "b"),
        ("done", "a"),
        ("done", "b"),
        ("doing", "a"),
        ("done", "a"),
    ]


def test_a_failure_is_raised_when_the_others_have_ended(run: Run, waiting: Programs) -> None:
    expect(waiting, 3, fails="b.service")
    with pytest.raises(StepError, match=r"systemctl stop b\.service failed") as caught:
        run.apply(*each("unit.stop", "a", "b", "c"))
    assert caught.value.more["step"] == "unit.stop b"
    assert journaled(run)[3:] == [("done", "a"), ("failed", "b"), ("done", "c")]


def test_of_an_undo_that_fails_for_one_the_others_are_undone_and_it_can_be_repeated(
    run: Run, waiting: Programs
) -> None:
    expect(waiting, 3)
    run.apply(*each("unit.stop", "a", "b", "c"))
    expect(waiting, 3, fails="b.service")
    with pytest.raises(StepError, match=r"systemctl start b\.service failed"):
        run.undo()
    assert journaled(run)[-3:] == [("undone", "c"), ("undo failed", "b"), ("undone", "a")]
    expect(waiting, 1)
    assert [result["id"] for result in run.undo()] == ["unit.stop b"]


def test_a_failed_stop_counts_as_done_and_is_undone(run: Run, waiting: Programs) -> None:
    expect(waiting, 1, fails="a.service")
    with pytest.raises(StepError):
        run.apply(*each("unit.stop", "a"))
    (waiting.directory / "a.service").write_text("inactive")
    expect(waiting, 1)
    assert run.undo()[0]["after"]["active"] == "active"


def test_a_stop_that_needed_sigkill_says_so(run: Run, waiting: Programs) -> None:
    expect(waiting, 2, killed="b.service")
    results = run.apply(*each("unit.stop", "a", "b"))
    assert [result["after"]["killed"] for result in results] == [False, True]


def test_what_did_not_run_was_not_killed(run: Run, waiting: Programs) -> None:
    expect(waiting, 1, active="inactive", killed="a.service")
    (result,) = run.apply(*each("unit.stop", "a"))
    assert not result["changed"]
    assert not result["after"].get("killed")


def test_a_switch_is_taken_back_in_its_phases(run: Run, waiting: Programs, tmp_path: Path) -> None:
    expect(waiting, 1)
    conf = tmp_path / "nova.conf"
    conf.write_bytes(b"old")
    stops = [step("unit.stop", f"stop-{unit}", unit=unit, timeout=20) for unit in ("api", "conductor")]
    starts = [step("unit.start", f"start-{unit}", unit=unit, timeout=20) for unit in ("conductor", "api")]
    run.apply(*stops, file_step(conf, b"new", "file"), *starts)
    states = [waiting.directory / "api.service", waiting.directory / "conductor.service"]
    seen = []
    for phase in ("start-api", "start-conductor", "file", "stop-conductor", "stop-api"):
        run.undo(phase)
        seen.append((*(state.read_text() for state in states), conf.read_bytes()))
    assert seen == [
        ("inactive", "active", b"new"),
        ("inactive", "inactive", b"new"),
        ("inactive", "inactive", b"old"),
        ("inactive", "active", b"old"),
        ("active", "active", b"old"),
    ]
    assert run.undo() == []


def test_an_undo_of_what_is_so_already_touches_no_unit(run: Run, waiting: Programs) -> None:
    expect(waiting, 1)
    run.apply(*each("unit.stop", "a"), *each("unit.start", "a"))
    (waiting.directory / "a.service").write_text("inactive")
    before = len([argv for argv in waiting.argvs("systemctl") if argv[0] in ("start", "stop")])
    assert not run.undo("unit.start a")[0]["changed"]
    (waiting.directory / "a.service").write_text("active")
    assert not run.undo("unit.stop a")[0]["changed"]
    assert len([argv for argv in waiting.argvs("systemctl") if argv[0] in ("start", "stop")]) == before

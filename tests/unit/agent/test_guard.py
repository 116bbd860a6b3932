"""A host that nobody confirms to is put back by its own guard, and by nobody else at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import guard, kinds, pending, units
from deployer.agent.deeds import Deed, deeds
from deployer.agent.errors import RefusedError
from deployer.agent.journal import Journal
from deployer.agent.lock import HostLock
from deployer.agent.pending import Pending
from deployer.agent.types import StepOutcome
from deployer.nornir_plugins.bundle import agent_bundle
from tests.unit.agent.client import file_step, step
from tests.unit.agent.conftest import Programs, Run

NOVA, GLANCE = "project:nova", "project:glance"
OLD, NEW = b"old bytes\r\n", b"new"
OVER, FAR = 0.0, 1e12
COMMIT = step("commit.begin", "0000", seconds=120, units=[])


class Host:
    """A host in the middle of a switch: a.service is stopped, its file written; the run's controller is gone."""

    def __init__(self, state: Path, conf: Path, programs: Programs) -> None:
        self.state, self.conf, self.programs = state, conf, programs
        self.run = Run(state)
        self.conf.write_bytes(OLD)

    def cut(self, *more: dict[str, Any], deadline: float = OVER, boot: str = "") -> None:
        """Carry the switch out as far as the write, and what more is told; `boot` is another one than this."""
        self.journal_begin()
        self.run.apply(step("unit.stop", "0001", unit="a"), file_step(self.conf, NEW, "0002"), *more)
        self.pend(deadline, boot)

    def pend(self, deadline: float, boot: str = "") -> None:
        pending.save(self.state, Pending("r1", boot or pending.boot_id(), {NOVA: deadline}))

    def journal_begin(self) -> None:
        line = {"step": "0000", "scope": NOVA, "kind": "commit.begin", "target": NOVA, "before": {}, "after": {}}
        for status in ("doing", "done"):
            self.run.journal.append({**line, "status": status})

    @property
    def units(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = json.loads((self.programs.directory / "states").read_text())
        return found

    @property
    def running(self) -> bool:
        return self.units["a.service"][0] == "active"

    @property
    def problem(self) -> str | None:
        """What keeps nova from being back; None when nothing is pending."""
        now = pending.read(self.state)
        return None if now is None else now.problem.get(NOVA, "")

    def standing(self) -> list[str]:
        return [deed.step for deed in deeds(self.run.journal.entries()) if not deed.undone]


@pytest.fixture
def host(state: Path, systemd: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("HYBRIDMSG_STATE", str(state))
    monkeypatch.setattr(guard, "CELLS_PAUSE", 0.01)
    monkeypatch.setattr(guard, "CELLS_PATIENCE", 0.2)
    monkeypatch.setattr(units, "_no_block", [])
    return Host(state, tmp_path / "nova.conf", systemd)


@pytest.fixture
def started(host: Host) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the guard as systemd does, from the zip that the host keeps."""
    (host.state / "agent.zip").write_bytes(agent_bundle())
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-I", str(host.state / "agent.zip"), "guard", *words]
        env = {name: value for name, value in os.environ.items() if name != "HYBRIDMSG_STATE"}
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_what_nobody_confirmed_in_time_goes_back_whole(
    host: Host, started: Callable[..., subprocess.Popen[str]]
) -> None:
    host.cut(step("unit.start", "0003", unit="b"))
    told, _ = (process := started()).communicate(timeout=60)
    assert (process.returncode, host.conf.read_bytes()) == (0, OLD)
    assert host.units == {"a.service": ["active", "enabled"], "b.service": ["inactive", "disabled"]}
    assert (host.problem, host.standing()) == (None, [])
    assert f"{NOVA} of run r1 was not confirmed and goes back" in told


@pytest.mark.parametrize("kind", ["python.install", "package.install", "rabbitmq.purge"])
def test_what_is_kept_is_not_journaled_as_taken_back(host: Host, kind: str) -> None:
    host.cut()
    line = {"step": "0003", "scope": NOVA, "kind": kind, "target": "it", "before": {}, "after": {}}
    for status in ("doing", "done"):
        host.run.journal.append({**line, "status": status})
    assert guard.main(host.state, []) == 0
    assert (host.conf.read_bytes(), host.problem, host.standing()) == (OLD, None, ["0003"])


def test_before_its_time_nothing_goes_back(host: Host) -> None:
    host.cut(deadline=FAR)
    assert guard.main(host.state, []) == 0
    assert (host.conf.read_bytes(), host.running, host.problem) == (NEW, False, "")


def test_at_boot_everything_that_is_pending_goes_back_and_no_unit_is_waited_for(host: Host) -> None:
    host.cut(deadline=FAR, boot="the one before")
    assert guard.main(host.state, ["boot"]) == 0
    assert (host.conf.read_bytes(), host.running, host.problem) == (OLD, True, None)
    assert ["start", "--no-block", "--", "a.service"] in host.programs.argvs("systemctl")


def test_a_timed_guard_sees_to_it_that_units_do_start(host: Host) -> None:
    host.cut()
    guard.main(host.state, [])
    assert ["start", "--", "a.service"] in host.programs.argvs("systemctl")


def test_nothing_pending_is_nothing_to_do(host: Host) -> None:
    host.run.apply(file_step(host.conf, NEW))
    assert guard.main(host.state, ["boot"]) == 0
    assert host.conf.read_bytes() == NEW


def _waits_for_a_lock(pid: int) -> bool:
    return any(" -> " in line and f" {pid} " in line for line in Path("/proc/locks").read_text().splitlines())


def test_while_a_controller_lives_the_guard_waits_and_what_is_confirmed_meanwhile_stays(
    host: Host, started: Callable[..., subprocess.Popen[str]]
) -> None:
    host.cut()
    controller = HostLock(host.state)
    controller.take({"who": "ann"})
    process = started()
    deadline = time.monotonic() + 60
    while not _waits_for_a_lock(process.pid):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    assert host.conf.read_bytes() == NEW
    pending.remove(host.state)
    controller.let_go()
    assert process.wait(60) == 0
    assert host.conf.read_bytes() == NEW


def test_at_boot_a_controller_that_is_there_already_is_not_waited_for_and_looked_after_again(host: Host) -> None:
    host.cut(boot="the one before")
    host.programs.add("systemd-run")
    controller = HostLock(host.state)
    controller.take({"who": "ann"})
    assert guard.main(host.state, ["boot"]) == 0
    assert host.conf.read_bytes() == NEW
    (argv,) = host.programs.argvs("systemd-run")
    assert "--on-active=1s" in argv


def test_whoever_comes_meanwhile_is_told_who_is_at_work(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.cut()
    holders = []
    monkeypatch.setattr(guard, "put_back_all", lambda state: holders.append(json.loads((state / "lock").read_text())))
    guard.main(host.state, [])
    assert holders[0]["who"].startswith("hybridmsg-guard@")
    HostLock(host.state).take({"who": "ann"})  # it is free again


def test_a_file_that_somebody_changed_since_stays_and_so_does_its_project_but_services_run(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.conf"
    other.write_bytes(OLD)
    host.cut(file_step(other, NEW, "0003"))
    other.write_bytes(b"theirs")
    assert guard.main(host.state, []) == 1
    assert (host.conf.read_bytes(), other.read_bytes(), host.running) == (NEW, b"theirs", True)
    assert host.problem == f"{other} was changed after the run"
    assert f"{NOVA} is not back: {other} was changed after the run" in capsys.readouterr().out
    assert host.standing() == ["0000", "0002", "0003"]


def test_what_one_project_is_kept_from_is_nothing_to_the_others(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "glance.conf"
    other.write_bytes(OLD)
    host.cut({**file_step(other, NEW, "0003"), "scope": GLANCE})
    now = pending.read(host.state)
    assert now is not None
    pending.save(host.state, now.begun(GLANCE, OVER))
    host.conf.write_bytes(b"theirs")
    assert guard.main(host.state, []) == 1
    assert other.read_bytes() == OLD
    left = pending.read(host.state)
    assert left is not None
    assert [*left.scopes] == [NOVA]


def test_steps_of_projects_that_are_not_pending_stay(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "glance.conf"
    host.cut({**file_step(other, NEW, "0003"), "scope": GLANCE})
    guard.main(host.state, [])
    assert (other.read_bytes(), host.standing()) == (NEW, ["0003"])


class Cells:
    """nova's cell mappings, out of reach for the first tries."""

    def __init__(self, host: Host, tries: int) -> None:
        self.host, self.tries = host, tries
        self.found: list[tuple[bytes, bool]] = []

    def restore(self, _deed: Deed, _journal: Journal, _force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
        self.found.append((self.host.conf.read_bytes(), self.host.running))
        if len(self.found) <= self.tries:
            raise RefusedError("nova's cell mappings cannot be read: no route to its database")
        return StepOutcome(changed=True)


@pytest.fixture
def cells(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Cells]:
    def make(tries: int) -> Cells:
        found = Cells(host, tries)
        monkeypatch.setitem(kinds.UNDO, "nova.cells", found.restore)
        monkeypatch.delitem(kinds.CHECKS, "nova.cells")
        host.cut()
        line = {"step": "0003", "scope": NOVA, "kind": "nova.cells", "target": "cells", "before": {}, "after": {}}
        host.run.journal.append({**line, "status": "doing"})
        return found

    return make


def test_cells_that_are_out_of_reach_are_tried_again_when_files_are_back_and_before_services_start(
    host: Host, cells: Callable[[int], Cells]
) -> None:
    tried = cells(2)
    assert guard.main(host.state, []) == 0
    assert tried.found == [(OLD, False)] * 3
    assert (host.running, host.problem) == (True, None)


def test_cells_that_stay_out_of_reach_stay_pending_and_services_run(host: Host, cells: Callable[[int], Cells]) -> None:
    cells(10_000)
    assert guard.main(host.state, []) == 1
    assert (host.conf.read_bytes(), host.running) == (OLD, True)
    assert host.problem == "nova's cell mappings cannot be read: no route to its database"
    assert host.standing() == ["0000", "0003"]


def test_what_an_undo_had_stopped_when_it_was_cut_off_runs_again(host: Host) -> None:
    host.journal_begin()
    host.run.apply(file_step(host.conf, NEW, "0002"))
    host.run.journal = Journal(host.state, "r1-undo")
    host.run.journal.begin("ann", "now")
    host.run.apply(step("unit.stop", "9001", unit="a"))
    host.pend(OVER)
    assert guard.main(host.state, []) == 0
    assert (host.conf.read_bytes(), host.running) == (OLD, True)


def test_a_guard_that_is_killed_half_way_is_finished_by_the_next(host: Host) -> None:
    host.cut()
    host.run.undo("0002")
    now = pending.read(host.state)
    assert now is not None
    pending.save(host.state, now.noted(NOVA, guard.GOING_BACK))
    assert guard.main(host.state, ["boot"]) == 0
    assert (host.running, host.problem, host.standing()) == (True, None, [])


def test_a_damaged_journal_is_told_and_changes_nothing(host: Host) -> None:
    host.cut()
    lines = host.state / "runs" / "r1" / "journal.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b"unit.stop", b"unit.stoq", 1))
    assert guard.main(host.state, ["boot"]) == 1
    assert (host.conf.read_bytes(), host.running) == (NEW, False)
    assert host.problem is not None
    assert "journal.jsonl is damaged" in host.problem


DAMAGE = [b"{", b"[]", b'{"run": "r1"}']


@pytest.mark.parametrize("damage", DAMAGE, ids=["torn", "no object", "fields missing"])
@pytest.mark.parametrize("words", [[], ["boot"]], ids=["timer", "boot"])
def test_where_it_cannot_be_read_what_is_pending_the_runs_journal_tells(
    host: Host, damage: bytes, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    host.cut(deadline=FAR)
    (host.state / "pending.json").write_bytes(damage)
    assert guard.main(host.state, words) == 0
    assert (host.conf.read_bytes(), host.running, host.problem, host.standing()) == (OLD, True, None, [])
    assert "pending.json is damaged" in capsys.readouterr().out


def test_a_scope_that_was_confirmed_stays_though_it_cannot_be_read_what_is_pending(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "glance.conf"
    begun = {"scope": GLANCE, "target": GLANCE, "before": {}, "after": {}}
    for number, kind in (("0005", "commit.begin"), ("0006", "commit.confirm")):
        for status in ("doing", "done"):
            host.run.journal.append({**begun, "step": number, "kind": kind, "status": status})
    host.cut({**file_step(other, NEW, "0004"), "scope": GLANCE})
    (host.state / "pending.json").write_bytes(b"{")
    assert guard.main(host.state, ["boot"]) == 0
    assert (other.read_bytes(), host.conf.read_bytes()) == (NEW, OLD)


def test_an_older_runs_journal_is_not_asked_what_is_pending(host: Host) -> None:
    host.cut()
    line = {"step": "1", "scope": NOVA, "kind": "commit.begin", "target": NOVA, "before": {}, "after": {}}
    newer = Journal(host.state, "r2")
    newer.begin("ann", "now")
    for status in ("doing", "done", "undoing", "undone"):
        newer.append({**line, "status": status})
    (host.state / "pending.json").write_bytes(b"{")
    assert guard.main(host.state, ["boot"]) == 0
    assert host.conf.read_bytes() == NEW
    assert not (host.state / "pending.json").exists()


def test_where_no_journal_tells_what_is_pending_that_is_told_and_stays(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    host.state.mkdir(exist_ok=True)
    (host.state / "pending.json").write_bytes(b"{")
    assert guard.main(host.state, ["boot"]) == 1
    assert "Run reconcile, or rollback" in capsys.readouterr().out
    assert (host.state / "pending.json").read_bytes() == b"{"


def test_a_run_whose_journal_is_gone_is_told(host: Host) -> None:
    host.pend(OVER)
    host.run.journal.directory.rename(host.state / "gone")
    assert guard.main(host.state, []) == 1
    assert host.problem == "this host has no journal of run r1"
    assert not host.run.journal.directory.exists()


def test_a_service_that_does_not_start_is_told_and_stays_pending(host: Host) -> None:
    host.cut()
    host.programs.add(
        "systemctl",
        (host.programs.directory / "systemctl")
        .read_text()
        .replace("}\nif verb in", "}\nif verb == 'start': sys.exit(1)\nif verb in"),
    )
    host.programs.add("journalctl")
    assert guard.main(host.state, []) == 1
    assert host.conf.read_bytes() == OLD
    assert host.problem == "systemctl start a.service failed (exit code 1)"

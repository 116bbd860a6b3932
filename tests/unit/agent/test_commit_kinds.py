"""A commit begins on a host only when the host can put itself back, and ends with the word that it stays."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import guard_unit, pending, steps
from deployer.agent.deeds import deeds
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.journal import Journal
from deployer.agent.pending import Pending
from deployer.nornir_plugins.bundle import agent_bundle
from tests.unit.agent.client import step
from tests.unit.agent.conftest import SYSTEMCTL, Programs, Run

NOVA, GLANCE = "project:nova", "project:glance"
SMALL_ZIP = b"import sys; sys.exit(sys.argv[1:] != ['guard', 'check'])"
"""In the place of the agent's, whose start takes its time: Python runs it all the same."""


class Host(Run):
    """A host whose systemd is a stand-in, and which takes steps of run r1."""

    def __init__(self, state: Path, units: Path, programs: Programs) -> None:
        super().__init__(state)
        self.state, self.units, self.programs = state, units, programs

    def begin(self, scope: str = NOVA, *units: str, run: str = "r1", seconds: float = 120) -> list[dict[str, Any]]:
        return self.carry("commit.begin", scope, run, seconds=seconds, units=list(units))

    def confirm(self, scope: str = NOVA, run: str = "r1") -> list[dict[str, Any]]:
        return self.carry("commit.confirm", scope, run)

    def carry(self, kind: str, scope: str, run: str, **args: Any) -> list[dict[str, Any]]:
        raw = {**step(kind, f"{kind} {scope}", **args), "scope": scope}
        return steps.apply([steps.parse(raw, run)], self.journal, self.events.append, self.gone)

    @property
    def unit(self) -> list[str]:
        return (self.units / "hybridmsg-guard.service").read_text().splitlines()

    @property
    def scopes(self) -> list[str]:
        now = pending.read(self.state)
        return [] if now is None else list(now.scopes)

    def verbs(self) -> list[str]:
        """Return what systemd was told that changes anything, in order."""
        calls = (["systemd-run"] if one["name"] == "systemd-run" else one["argv"][:1] for one in self.programs.calls)
        return [verb for (verb,) in calls if verb != "show"]


@pytest.fixture
def host(state: Path, systemd: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    units = tmp_path / "units"
    units.mkdir()
    known = {"hybridmsg-guard.service": ["inactive", ""], "hybridmsg-confirm.timer": ["active", ""]}
    (systemd.directory / "states").write_text(json.dumps(known))
    systemd.add("systemd-run")
    monkeypatch.setenv("HYBRIDMSG_STATE", str(state))
    monkeypatch.setattr(guard_unit, "UNITS", units)
    monkeypatch.setattr(guard_unit, "own_zip", lambda: SMALL_ZIP)
    return Host(state, units, systemd)


def test_the_guard_is_there_and_enabled_before_anything_is_pending(host: Host) -> None:
    host.begin(NOVA, "nova-api", "nova-conductor.service")
    zipped = host.state / "agent.zip"
    assert (zipped.read_bytes(), stat.S_IMODE(zipped.stat().st_mode)) == (SMALL_ZIP, 0o600)
    assert host.verbs() == ["daemon-reload", "enable", "stop", "reset-failed", "systemd-run"]
    assert host.scopes == [NOVA]
    assert f"ExecStart={sys.executable} -I {zipped} guard boot" in host.unit
    assert f"ConditionPathExists={host.state}/pending.json" in host.unit
    assert "Before=nova-api.service nova-conductor.service" in host.unit


def test_the_timer_runs_the_guard_once_the_time_is_over_and_not_a_minute_later(host: Host) -> None:
    host.begin(seconds=90.5)
    (argv,) = host.programs.argvs("systemd-run")
    assert {"--on-active=91s", "--timer-property=AccuracySec=1s", "--unit=hybridmsg-confirm.service"} < {*argv}
    assert argv[argv.index("--") + 1 :] == [sys.executable, "-I", str(host.state / "agent.zip"), "guard"]


def test_a_guard_that_waits_since_the_project_before_is_done_without(host: Host) -> None:
    host.begin()
    verbs = {argv[0]: argv[2:] for argv in host.programs.argvs("systemctl")}
    assert verbs["stop"] == verbs["reset-failed"] == ["hybridmsg-confirm.timer", "hybridmsg-confirm.service"]


def test_services_of_earlier_projects_stay_behind_the_guard(host: Host) -> None:
    host.begin(NOVA, "nova-api")
    host.begin(GLANCE, "glance-api")
    assert "Before=glance-api.service nova-api.service" in host.unit
    assert sorted(host.scopes) == [GLANCE, NOVA]


def test_what_is_there_already_is_neither_written_nor_reloaded_again(host: Host) -> None:
    host.begin(NOVA, "nova-api")
    inodes = [path.stat().st_ino for path in (host.state / "agent.zip", host.units / "hybridmsg-guard.service")]
    host.begin(GLANCE, "nova-api")
    assert inodes == [path.stat().st_ino for path in (host.state / "agent.zip", host.units / "hybridmsg-guard.service")]
    assert [verb for verb in host.verbs() if verb in ("daemon-reload", "enable")] == ["daemon-reload", "enable"]


def _no_timer(host: Host) -> str:
    host.programs.add("systemd-run", "sys.exit(1)")
    return "the timer that puts this host back cannot be started"


def _no_enabling(host: Host) -> str:
    host.programs.add("systemctl", f"{SYSTEMCTL}\nsys.exit(verb == 'enable')")
    return "hybridmsg-guard.service cannot be enabled"


def _no_reading(host: Host) -> str:
    host.programs.add("systemctl", f"{SYSTEMCTL}\nsys.exit(verb == 'daemon-reload')")
    return "daemon-reload failed"


def _no_place(host: Host) -> str:
    host.units.rmdir()
    return "hybridmsg-guard.service could not be written"


def _masked(host: Host) -> str:
    (host.units / "hybridmsg-guard.service").symlink_to("/dev/null")
    return "hybridmsg-guard.service is not a regular file"


@pytest.mark.parametrize("broken", [_no_timer, _no_enabling, _no_reading, _no_place, _masked])
def test_a_host_that_cannot_put_itself_back_says_so_and_has_nothing_pending(
    host: Host, broken: Callable[[Host], str]
) -> None:
    problem = broken(host)
    with pytest.raises((StepError, RefusedError), match=problem):
        host.begin()
    assert host.scopes == []


def test_a_guard_that_this_host_cannot_run_is_found_out_before_it_is_needed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_unit, "own_zip", lambda: b"raise SystemExit(3)")
    with pytest.raises(StepError, match=r"the guard does not run on this host \(exit code 3\)"):
        host.begin()
    assert host.scopes == []


def test_what_is_confirmed_is_pending_no_more_and_the_timer_goes_with_the_last(host: Host) -> None:
    host.begin(GLANCE)
    host.begin(NOVA)
    before = len(host.verbs())
    host.confirm(NOVA)
    assert (host.scopes, host.verbs()[before:]) == ([GLANCE], [])
    host.confirm(GLANCE)
    assert ((host.state / "pending.json").exists(), host.verbs()[before:]) == (False, ["stop", "reset-failed"])
    assert ["stop", "--", "hybridmsg-confirm.timer"] in host.programs.argvs("systemctl"), "a guard at work is left"


@pytest.mark.parametrize(("scope", "run"), [(NOVA, "r1"), (GLANCE, "r2")])
def test_what_the_host_has_put_back_cannot_be_confirmed(host: Host, scope: str, run: str) -> None:
    host.begin(GLANCE)
    with pytest.raises(StepError, match=f"this host has put {scope} back by itself"):
        host.confirm(scope, run)
    assert host.scopes == [GLANCE]


def test_what_the_host_began_to_put_back_cannot_be_confirmed(host: Host) -> None:
    host.begin()
    now = pending.read(host.state)
    assert now is not None
    pending.save(host.state, now.noted(NOVA, "nova.conf was changed after the run"))
    with pytest.raises(StepError, match=r"has put project:nova back"):
        host.confirm()


def test_an_undo_leaves_nothing_pending_of_its_project(host: Host) -> None:
    host.begin(GLANCE)
    host.begin(NOVA)
    host.confirm(GLANCE)
    host.undo("commit.begin project:nova", "commit.begin project:glance", "commit.confirm project:glance")
    assert not (host.state / "pending.json").exists()
    assert all(deed.undone for deed in deeds(host.journal.entries()))


def test_an_undo_is_not_kept_from_its_end_by_a_damaged_file(host: Host) -> None:
    host.begin()
    (host.state / "pending.json").write_text("{")
    host.undo()
    assert not (host.state / "pending.json").exists()


def test_nothing_begins_while_a_file_is_damaged(host: Host) -> None:
    host.begin()
    (host.state / "pending.json").write_text('{"run": "r1", "scopes": [1]}')
    with pytest.raises(RefusedError, match=r"pending\.json is damaged"):
        host.begin(GLANCE)


def test_nothing_begins_beside_what_another_run_left(host: Host) -> None:
    host.begin()
    with pytest.raises(RefusedError, match=r"run r1 left project:nova unconfirmed on this host"):
        host.begin(GLANCE, run="r2")
    assert host.scopes == [NOVA]


def test_what_no_journal_tells_of_is_in_nobodys_way(host: Host) -> None:
    host.begin()
    host.journal.directory.rename(host.journal.directory.with_name("r2"))
    host.journal = Journal(host.state, "r2")
    host.begin(GLANCE, run="r2")
    assert host.scopes == [GLANCE]


def test_an_agent_keeps_the_very_zip_that_it_runs_from(tmp_path: Path) -> None:
    program = """
import os, sys
bundle = os.memfd_create("hybridmsg")
os.write(bundle, open(sys.argv[1], "rb").read())
sys.path.insert(0, "/proc/self/fd/%d" % bundle)
from deployer.agent.guard_unit import own_zip
os.write(1, own_zip())
"""
    zipped = tmp_path / "zip"
    zipped.write_bytes(agent_bundle())
    argv = [sys.executable, "-I", "-c", program, str(zipped)]
    assert subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=60).stdout == agent_bundle()


def test_an_agent_that_has_no_zip_cannot_begin() -> None:
    with pytest.raises(RefusedError, match="does not run from its zip"):
        guard_unit.own_zip()


def test_a_deadline_is_over_once_its_seconds_are_or_the_host_was_down() -> None:
    now = Pending.of("r1").begun(GLANCE, pending.uptime() + 60).begun(NOVA, pending.uptime())
    assert now.due() == [NOVA]
    assert Pending("r1", "another boot", now.scopes).due() == [NOVA, GLANCE]


def test_what_an_earlier_boot_left_is_over_also_once_this_one_begins_more() -> None:
    found = Pending("r1", "another boot", {GLANCE: 1e9}).begun(NOVA, pending.uptime() + 60)
    assert found.due() == [GLANCE]


def test_what_is_pending_is_for_root_only(state: Path) -> None:
    pending.save(state, Pending.of("r1").begun(NOVA, 1))
    assert stat.S_IMODE((state / "pending.json").stat().st_mode) == 0o600
    assert json.loads((state / "pending.json").read_text())["run"] == "r1"

from __future__ import annotations

import json
import resource
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import files
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.history import history
from deployer.agent.journal import Journal
from deployer.agent.steps import apply, parse
from deployer.agent.undo import undo
from tests.unit.agent.client import file_step
from tests.unit.agent.conftest import Programs

SECRET = b"transport_url = rabbit://nova:s3cret@old:5672/\n"
NEVER = threading.Event()


class PowerCut(BaseException):
    """Ends the agent where it stands: no handler of a failed step sees it."""


def nothing(_event: dict[str, Any]) -> None:
    """Drop the event."""


@pytest.fixture
def journal(state: Path) -> Journal:
    opened = Journal(state, "r1")
    opened.begin("ann@ops", "2026-01-01T00:00:00Z")
    return opened


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_bytes(SECRET)
    return path


def cut_power_at_the_write_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = files.replace

    def cut(real: str, *rest: Any) -> None:
        if real == str(path):
            raise PowerCut
        replace(real, *rest)

    monkeypatch.setattr(files, "replace", cut)


def test_the_before_image_is_on_disk_before_the_file_changes(
    journal: Journal, state: Path, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_power_at_the_write_of(conf, monkeypatch)
    with pytest.raises(PowerCut):
        apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    (line,) = Journal(state, "r1").entries()
    assert (line["status"], line["target"], line["before"]["mode"]) == ("doing", str(conf), 0o644)
    assert Journal(state, "r1").blob(line["before"]["sha256"]) == SECRET


def test_a_step_cut_off_before_its_act_is_undone_without_a_change(
    journal: Journal, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        cut_power_at_the_write_of(conf, patch)
        with pytest.raises(PowerCut):
            apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    (result,) = undo(journal, None, nothing, NEVER, force=False)
    assert not result["changed"]
    assert conf.read_bytes() == SECRET


def test_a_step_cut_off_after_its_act_is_undone(journal: Journal, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append = journal.append

    def cut(line: dict[str, Any]) -> None:
        if line["status"] == "done":
            raise PowerCut
        append(line)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "append", cut)
        with pytest.raises(PowerCut):
            apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    assert conf.read_bytes() == b"new"
    (result,) = undo(journal, None, nothing, NEVER, force=False)
    assert result["changed"]
    assert conf.read_bytes() == SECRET


def test_a_units_state_is_on_disk_before_it_is_restarted(journal: Journal, state: Path, programs: Programs) -> None:
    lines = state / "runs/r1/journal.jsonl"
    programs.add(
        "systemctl",
        f"""
if argv[0] == "show": print("Id=nova.service\\nActiveState=active\\nUnitFileState=enabled\\nMainPID=0")
if argv[0] == "restart": sys.stderr.write(open({str(lines)!r}).read()); sys.exit(1)
""",
    )
    programs.add("journalctl")
    step = {"id": "1", "kind": "unit.restart", "args": {"unit": "nova.service", "timeout": 10}}
    with pytest.raises(StepError) as caught:
        apply([parse(step)], journal, nothing, NEVER)
    seen = json.loads(caught.value.frame()["output"])
    assert (seen["status"], seen["before"]["active"]) == ("doing", "active")
    assert [line["status"] for line in journal.entries()] == ["doing", "failed"]


def test_neither_content_nor_secret_is_in_a_line(journal: Journal, state: Path, conf: Path) -> None:
    apply([parse(file_step(conf, b"s3cret too"))], journal, nothing, NEVER)
    assert "s3cret" not in (state / "runs/r1/journal.jsonl").read_text()


def test_all_of_it_is_for_its_owner_only(journal: Journal, state: Path, conf: Path) -> None:
    apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    found = [state, *state.rglob("*")]
    modes = {path.relative_to(state.parent): stat.S_IMODE(path.stat().st_mode) for path in found}
    assert {path for path, mode in modes.items() if mode & 0o077} == set()


def test_history_tells_who_when_and_every_status(journal: Journal, state: Path, conf: Path) -> None:
    apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    (run,) = history(state, "r1")
    assert (run["run"], run["who"], run["when"]) == ("r1", "ann@ops", "2026-01-01T00:00:00Z")
    assert [line["status"] for line in run["entries"]] == ["doing", "done"]
    keys = {"step", "scope", "kind", "status", "target", "before", "after", "at", "sum"}
    assert all(set(line) == keys for line in run["entries"])


def test_history_of_a_host_that_was_never_changed_is_empty_and_leaves_no_trace(state: Path) -> None:
    assert history(state, None) == []
    assert history(state, "r1") == []
    assert not state.exists()


def test_runs_are_told_oldest_first(state: Path) -> None:
    for run, when in (("b", "2026-01-01"), ("a", "2026-01-02")):
        Journal(state, run).begin("ann", when)
    assert [run["run"] for run in history(state, None)] == ["b", "a"]


def test_a_torn_last_line_is_cut_off_and_the_run_goes_on(journal: Journal, state: Path, conf: Path) -> None:
    apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    with (state / "runs/r1/journal.jsonl").open("ab") as file:
        file.write(b'{"step": "0002", "sta')
    assert len(journal.entries()) == 2
    again = Journal(state, "r1")
    again.begin("ann", "later")
    apply([parse(file_step(conf, b"newer"))], again, nothing, NEVER)
    assert [line["status"] for line in again.entries()] == ["doing", "done"] * 2


def test_a_full_disk_stops_the_step_before_its_act_and_damages_nothing(
    journal: Journal, state: Path, conf: Path
) -> None:
    apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    lines = state / "runs/r1/journal.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (lines.stat().st_size + 10, hard))
    try:
        with pytest.raises(StepError, match=r"journal\.jsonl could not be written"):
            apply([parse(file_step(conf, b"newer", "0002"))], journal, nothing, NEVER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert conf.read_bytes() == b"new"
    assert lines.read_bytes().endswith(b"}\n")
    assert len(journal.entries()) == 2


@pytest.mark.parametrize("damage", [(b'"mode": 420', b'"mode": 511'), (b"{", b"(")], ids=["value", "syntax"])
def test_a_tampered_line_is_refused(journal: Journal, state: Path, conf: Path, damage: tuple[bytes, bytes]) -> None:
    apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    lines = state / "runs/r1/journal.jsonl"
    content = lines.read_bytes()
    assert damage[0] in content
    lines.write_bytes(content.replace(*damage, 1))
    with pytest.raises(RefusedError, match=r"journal\.jsonl is damaged"):
        undo(journal, None, nothing, NEVER, force=True)
    assert conf.read_bytes() == b"new"


def test_a_tampered_before_image_is_refused(journal: Journal, state: Path, conf: Path) -> None:
    apply([parse(file_step(conf, b"new"))], journal, nothing, NEVER)
    blob = state / "runs/r1/blobs" / journal.entries()[0]["before"]["sha256"]
    blob.write_bytes(SECRET + b"#")
    with pytest.raises(RefusedError, match="is damaged"):
        undo(journal, None, nothing, NEVER, force=False)
    assert conf.read_bytes() == b"new"


@pytest.mark.parametrize("name", ["../r1", "", ".", "a/b", "-x", "a" * 129])
def test_a_run_cannot_be_named_out_of_its_directory(state: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="cannot be a run's name"):
        Journal(state, name)

"""`history` and `show` on the command line, without hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.cli.main import run as hybridmsg
from deployer.journal.store import RunStore
from tests.unit.journal.runs import NEW, OLD, line, run

NOWHERE = Path(__file__).parent
"""A directory that is no inventory: with --local nothing of one is read."""


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    store = RunStore(tmp_path)
    ended = "2026-01-01T00:01:30+00:00"
    told: dict[str, Any] = {"hosts": ["ctl1"], "outcomes": {"ctl1": "changed"}, "ended": ended}
    for one in (run(OLD, confirmed=["nova"], **told), run(NEW, "failed", (), error="ctl1: [Errno 28] no space left")):
        store.save(one)
    store.copy(OLD, "ctl1").replace([line(1, "doing"), line(1, at="2026-01-01T00:00:02.500+00:00")])
    return ["-i", str(NOWHERE), "--state-dir", str(tmp_path), "--local"]


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_history_is_newest_first(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["history", *options]) == 0
    printed = capsys.readouterr().out
    assert printed.index(NEW) < printed.index(OLD)
    for words in ("migrate", "ann@ops1", "2026-01-01T00:00:00+00:00", "1 min 30 s", "done", "nova", "1 changed"):
        assert words in printed


def test_the_history_is_for_programs_too(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["history", *options, "--json"]) == 0
    runs = document(capsys)["runs"]
    assert isinstance(runs, list)
    assert [one["run"] for one in runs] == [NEW, OLD]
    assert (runs[1]["seconds"], runs[1]["confirmed"], runs[1]["outcomes"]) == (90, ["nova"], {"ctl1": "changed"})
    assert "files" not in runs[0], "what a run holds of every host is for nobody to read here"


def test_a_run_is_shown_step_by_step(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["show", OLD[:8], *options]) == 0
    printed = capsys.readouterr().out
    for words in (OLD, "ctl1", "0001", "2.5 s", "done", "nova", "unit.stop", "nova-api"):
        assert words in printed


def test_what_a_run_says_is_printed_as_it_stands(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["show", "last", *options]) == 0
    assert "because: ctl1: [Errno 28] no space left" in capsys.readouterr().out


def test_a_run_is_shown_to_programs_too(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["show", OLD, *options, "--json", "--host", "ctl1"]) == 0
    step = {"step": "0001", "scope": "project:nova", "project": "nova", "kind": "unit.stop", "target": "nova-api"}
    told = {"status": "done", "when": "2026-01-01T00:00:00.000+00:00", "seconds": 2.5, "undone": None}
    assert document(capsys)["steps"] == {"ctl1": [step | told]}


def test_a_run_that_is_not_there_ends_with_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["show", "1999", *options]) == 1
    assert "hybridmsg: no run 1999 is recorded in" in capsys.readouterr().err


def test_where_nothing_was_ever_done_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hybridmsg(["history", "-i", str(NOWHERE), "--state-dir", str(tmp_path / "none"), "--local"]) == 0
    assert "No run is recorded." in capsys.readouterr().out

"""What is told of a rollback, of what one would do, and of a release."""

from __future__ import annotations

import json

import pytest

from deployer.journal.run import Run
from deployer.report import rollback
from deployer.rollout.hold import Hold
from deployer.rollout.outcome import Preview, Restored, Rollback

RUN = Run("r1", "migrate", "op@ops", "2026-03-01T10:00:00+00:00", "/etc/hybridmsg", "rolled back", hosts=["ctl1"])
KEPT = "ctl1: /etc/nova/nova.conf: [DEFAULT] debug is true: is kept"
DONE = Rollback(
    RUN,
    [Restored("ctl1", "/etc/nova/nova.conf", same=True, detail="as before")],
    projects=["nova"],
    told=[KEPT],
    hosts={"ctl1": "changed"},
)
PREVIEW = Preview(
    run=RUN,
    projects=["nova"],
    files=[(host, "/etc/nova/nova.conf", "--- a\n+++ b\n-[new]\n") for host in ("ctl1", "ctl2")],
    units=["ctl1: nova-api stops, and starts again"],
    cells=["cell 1 goes back to rabbit://nova:***@h"],
    told=[KEPT],
    conflicts=["ctl1: /etc/nova/nova.conf: [DEFAULT] x was 1, the run left 2, is 3"],
)
HOLD = Hold("r1", "op@ops", "2026-03-01T11:00:00+00:00", ("nova",))


def test_a_rollback_tells_edits_that_stay_how_hosts_ended_and_that_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    rollback.show_rollback(DONE)
    told = capsys.readouterr().out
    assert KEPT in told
    assert "changed" in told
    assert "hybridmsg release" in told


def test_what_is_rolled_back_already_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    rollback.show_rollback(Rollback(RUN))
    assert capsys.readouterr().out == "Run r1 is rolled back already, or left nothing changed: nothing to do.\n"


def test_backends_that_stay_are_told_also_when_all_else_was_back_already(capsys: pytest.CaptureFixture[str]) -> None:
    rollback.show_rollback(Rollback(RUN, told=["rabbitmq: vhost nova stays: somebody is connected"]))
    assert "vhost nova stays" in capsys.readouterr().out


def test_a_rollbacks_document_has_hosts_and_what_still_stands() -> None:
    found = json.loads(json.dumps(rollback.rollback_document(DONE)))
    assert (found["hosts"], found["standing"], found["state"]) == ({"ctl1": "changed"}, [], "rolled back")


def test_a_preview_shows_an_equal_diff_once_with_its_hosts_and_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rollback.show_preview(PREVIEW)
    told = capsys.readouterr().out
    assert (told.count("-[new]"), "ctl1, ctl2" in told) == (1, True)
    assert "refused unless forced: ctl1: /etc/nova/nova.conf: [DEFAULT] x was 1, the run left 2, is 3" in told
    assert all(line in told for line in (*PREVIEW.units, *PREVIEW.cells, *PREVIEW.told))


def test_a_previews_document_has_all_of_it() -> None:
    found = json.loads(json.dumps(rollback.preview_document(PREVIEW)))
    assert (found["changed"], len(found["files"]), found["conflicts"]) == (True, 2, PREVIEW.conflicts)


def test_a_release_tells_each_hold_once_with_its_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    rollback.show_release({"ctl1": HOLD, "ctl2": HOLD})
    assert capsys.readouterr().out == f"ctl1, ctl2: was {HOLD}; released now\n"


def test_a_release_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    rollback.show_release({})
    assert capsys.readouterr().out == "Nothing was held.\n"

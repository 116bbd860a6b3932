from __future__ import annotations

import pytest

from deployer.journal.acts import acts
from tests.unit.journal.runs import line


def at(second: float) -> str:
    return f"2026-01-01T00:00:{second:06.3f}+00:00"


def test_a_step_is_told_with_its_beginning_how_long_it_took_and_its_project() -> None:
    [act] = acts([line(1, "doing", at(1)), line(1, "done", at(3.5))])
    assert (act.status, act.when, act.seconds, act.project, act.undone) == ("done", at(1), 2.5, "nova", None)


def test_a_step_that_was_taken_back_took_as_long_as_it_did_and_says_when_it_went() -> None:
    lines = [line(1, status, at(second)) for second, status in enumerate(("doing", "done", "undoing", "undone"))]
    [act] = acts(lines)
    assert (act.status, act.seconds, act.undone) == ("undone", 1, at(3))


@pytest.mark.parametrize("status", ["doing", "undoing"])
def test_a_step_whose_end_nobody_saw_says_so(status: str) -> None:
    [act] = acts([line(1, status, at(1))])
    assert (act.status, act.seconds, act.undone) == (status, None, None)


def test_steps_are_in_the_order_in_which_they_began() -> None:
    lines = [line(2, "doing"), line(1, "doing"), line(1), line(2, "failed")]
    assert [(act.step, act.status) for act in acts(lines)] == [("0002", "failed"), ("0001", "done")]


def test_what_was_done_for_a_backend_is_of_no_project() -> None:
    assert acts([line(1, scope="backend:rabbitmq")])[0].project == ""

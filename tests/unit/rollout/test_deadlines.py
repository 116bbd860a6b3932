from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from nornir.core.task import Result

from tests.unit.rollout.conftest import Cloud
from tests.unit.rollout.fake_fleet import Wire
from tests.unit.rollout.fake_host import FakeHost

LONGEST_STOP = 600
"""What the agent gives a unit at most, by its TimeoutStopSec (agent/units.py)."""
THREE_PROBES = 3 * 60
"""What the agent takes to move cells at most: it reads, writes and compares (agent/cells.py)."""

Deadlines = dict[str, list[float]]


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> Deadlines:
    """The deadline of each request that has one, by the kinds of the steps (`undo` before those that are undone)."""
    found: Deadlines = {}
    request = Wire.request

    def noting(wire: Wire, task: str, host: FakeHost, arguments: Mapping[str, Any]) -> Result:
        if task == "apply_steps":
            kinds = {step.kind for step in arguments["steps"][host.name]}
        elif task == "undo_steps":
            journal = host.journals[arguments["run"]].entries()
            kinds = {f"undo {one['kind']}" for one in journal if one["step"] in arguments["steps"][host.name]}
        else:
            kinds = set()
        for kind in kinds:
            found.setdefault(kind, []).append(arguments["deadline"])
        return request(wire, task, host, arguments)

    monkeypatch.setattr(Wire, "request", noting)
    return found


def test_a_unit_that_may_take_its_time_to_stop_has_it(standard: Cloud, deadlines: Deadlines) -> None:
    standard.migrate()
    assert min(deadlines["unit.stop"]) > LONGEST_STOP
    assert max(deadlines["unit.start"]) < LONGEST_STOP, "nobody waits that long for what does not stop"


def test_cells_have_the_time_of_all_that_the_agent_asks_nova(standard: Cloud, deadlines: Deadlines) -> None:
    standard.migrate()
    assert min(deadlines["nova.cells"]) > THREE_PROBES


def test_what_goes_back_has_the_same_time(standard: Cloud, deadlines: Deadlines) -> None:
    standard.migrate()
    standard.rollback()
    assert min(deadlines["undo nova.cells"]) > THREE_PROBES
    assert min(deadlines["undo unit.start"]) > LONGEST_STOP
    assert max(deadlines["undo unit.stop"]) < LONGEST_STOP

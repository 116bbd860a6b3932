"""nova's cell mappings, with a stand-in for the program that runs in nova's interpreter; its rows are a JSON file."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import cells, probe
from deployer.agent.errors import RefusedError, StaleError, StepError
from deployer.probe import nova_cells
from tests.unit.agent.client import step
from tests.unit.agent.conftest import Run

CELL1, CELL2 = "c03c45a7-1579-467e-9190-6bccefba14a2", "d14d56b8-268a-478f-a2a1-7cddf0cb25b3"
TEMPLATE = "{scheme}://{username}:{password}@{hostname}:{port}/{path}"
OLD, NEW = "rabbit://nova:s3cret@msg1:5672/nova", "amqp://nova:s3cret@msg1:31459/nova"

PROGRAM = """
import base64, json, sys
request = json.loads(sys.stdin.buffer.read())
path = request["config_files"][0]
rows = json.load(open(path))
stale = [uuid for uuid, move in request["moves"].items() if rows[uuid] != move["old"]]
if not stale and request["moves"]:
    rows.update({uuid: move["new"] for uuid, move in request["moves"].items()})
    json.dump(rows, open(path, "w"))
encoded = lambda text: base64.b64encode(text.encode()).decode()
cells = [{"uuid": uuid, "name": "a cell", "transport_url_b64": encoded(url)} for uuid, url in rows.items() if url]
answer = {"cells": cells, "stale": stale, "error": rows.get("error")}
print("hybridmsg-probe " + json.dumps(answer))
"""


class Rows:
    """The database: uuid to transport URL."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.put({cells.CELL0: "none:///", CELL1: TEMPLATE, CELL2: OLD})

    def put(self, rows: dict[str, str]) -> None:
        self.path.write_text(json.dumps(rows))

    def get(self) -> dict[str, str]:
        rows: dict[str, str] = json.loads(self.path.read_text())
        return rows

    @property
    def place(self) -> dict[str, Any]:
        return {"interpreter": sys.executable, "user": "", "config_files": [str(self.path)], "config_dirs": []}

    def move(self, mappings: dict[str, str], number: str = "0001") -> dict[str, Any]:
        encoded = base64.b64encode(json.dumps(mappings).encode()).decode()
        return step("nova.cells", number, **self.place, mappings_b64=encoded)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    monkeypatch.setattr(probe, "program", lambda name: {cells.PROGRAM: PROGRAM.encode()}[name])
    return Rows(tmp_path / "rows.json")


def test_the_program_is_among_those_that_travel_with_the_agent() -> None:
    assert f'MARK = "{probe.ANSWER_MARK}"'.encode() in probe.program(cells.PROGRAM)


def test_mappings_are_told_as_the_database_has_them(rows: Rows) -> None:
    told = {
        cell["uuid"]: base64.b64decode(cell["transport_url_b64"]).decode() for cell in cells.cells(rows.place)["cells"]
    }
    assert told == {cells.CELL0: "none:///", CELL1: TEMPLATE, CELL2: OLD}


def test_a_database_that_cannot_be_read_is_an_error_with_its_reason(rows: Rows) -> None:
    rows.put({"error": "DBConnectionError: cannot connect to db1"})
    with pytest.raises(RefusedError, match="cannot be read: DBConnectionError: cannot connect to db1"):
        cells.cells(rows.place)


def test_the_named_cells_move_and_come_back(run: Run, rows: Rows) -> None:
    before = rows.get()
    assert run.apply(rows.move({CELL2: NEW}))[0]["changed"]
    assert rows.get() == {**before, CELL2: NEW}
    assert run.undo()[0]["changed"]
    assert rows.get() == before


def test_the_before_image_is_kept_before_anything_is_written(
    run: Run, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = cells._ask

    def cut(place: dict[str, Any], moves: dict[str, Any]) -> dict[str, Any]:
        if moves:
            raise StepError("power cut")
        return ask(place, moves)

    monkeypatch.setattr(cells, "_ask", cut)
    with pytest.raises(StepError, match="power cut"):
        run.apply(rows.move({CELL1: NEW, CELL2: NEW}))
    (line, _) = run.journal.entries()
    assert json.loads(run.journal.blob(line["before"]["sha256"])) == {CELL1: TEMPLATE, CELL2: OLD}


def test_a_move_cut_off_before_its_end_was_journaled_is_undone(run: Run, rows: Rows) -> None:
    before = rows.get()
    run.apply(rows.move({CELL2: NEW}))
    lines = run.journal._lines
    lines.write_bytes(lines.read_bytes().split(b"\n")[0] + b"\n")
    assert run.undo()[0]["changed"]
    assert rows.get() == before


def test_a_mapping_that_is_so_already_is_not_written(run: Run, rows: Rows) -> None:
    assert not run.apply(rows.move({CELL2: OLD}))[0]["changed"]
    assert not run.undo()[0]["changed"]


def test_no_url_is_in_the_journal_or_a_result(run: Run, rows: Rows, state: Path) -> None:
    results = run.apply(rows.move({CELL2: NEW})) + run.undo()
    assert "s3cret" not in (state / "runs/r1/journal.jsonl").read_text() + json.dumps([results, run.events])


@pytest.mark.parametrize("uuid", [cells.CELL0, "no-such-cell"])
def test_cell0_and_unknown_cells_are_refused(run: Run, rows: Rows, uuid: str) -> None:
    before = rows.get()
    with pytest.raises(RefusedError, match=f"no cell {uuid}"):
        run.apply(rows.move({uuid: NEW, CELL2: NEW}))
    assert rows.get() == before
    assert run.journal.entries() == []


def test_a_mapping_changed_since_is_refused_before_anything_is_undone(run: Run, rows: Rows, tmp_path: Path) -> None:
    run.apply(step("file.remove", "0001", path=str(tmp_path / "absent")), rows.move({CELL2: NEW}, "0002"))
    rows.put({**rows.get(), CELL2: "rabbit://by-hand"})
    with pytest.raises(StaleError, match="cell mappings were changed after the run"):
        run.undo()
    assert rows.get()[CELL2] == "rabbit://by-hand"


def test_force_puts_it_back_and_keeps_what_it_overwrites(run: Run, rows: Rows, state: Path) -> None:
    run.apply(rows.move({CELL2: NEW}))
    rows.put({**rows.get(), CELL2: "rabbit://by-hand"})
    run.undo(force=True)
    assert rows.get()[CELL2] == OLD
    assert any(b"rabbit://by-hand" in blob.read_bytes() for blob in (state / "runs/r1/blobs").iterdir())


def test_a_change_between_the_look_and_the_act_is_not_overwritten(run: Run, rows: Rows) -> None:
    with pytest.raises(StaleError, match="being changed by somebody else"):
        cells._move(rows.place, {CELL2: TEMPLATE}, {CELL2: NEW})
    assert rows.get()[CELL2] == OLD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot parse 'mysql+pymysql://nova:s3c/r@et@db1:3306/nova_api'", "cannot parse ***@db1:3306/nova_api'"),
        ("cannot parse 'mysql nova:s3cret@db1/nova_api'", "cannot parse 'mysql ***@db1/nova_api'"),
        ("Access denied for user 'nova'@'10.0.0.1'", "Access denied for user 'nova'@'10.0.0.1'"),
        ("(1406, 'Data too long')\n[parameters: {'transport_url': 's3cret'}]", "(1406, 'Data too long')"),
        ("", ""),
    ],
)
def test_the_programs_errors_hold_no_credentials(text: str, told: str) -> None:
    assert nova_cells._describe(ValueError(text)) == f"ValueError: {told}"

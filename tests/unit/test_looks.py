"""What was seen of services outlives the program, and is never believed where it cannot be read."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deployer.journal.looks import read_looks, write_looks
from deployer.plan.stale import Look

LOOKS = {"ctl1": {"nova-api": Look("id", "1 ", "held", None, {"/etc/nova/nova.conf": "7 8 abc"})}}


def test_looks_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_looks(tmp_path / "state" / "looks.json", LOOKS)
    assert read_looks(tmp_path / "state" / "looks.json") == LOOKS
    assert stat.S_IMODE((tmp_path / "state" / "looks.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"schema": 0, "hosts": {"a": {}}}', '{"schema": 1, "hosts": {"a": {"b": {}}}}']
)
def test_what_cannot_be_read_is_as_good_as_nothing_seen(tmp_path: Path, content: str) -> None:
    (tmp_path / "looks.json").write_text(content)
    assert read_looks(tmp_path / "looks.json") == {}


def test_nothing_was_seen_where_there_is_no_file(tmp_path: Path) -> None:
    assert read_looks(tmp_path / "looks.json") == {}

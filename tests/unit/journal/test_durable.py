from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.journal import durable


def test_a_file_in_new_directories_outlives_a_power_cut_by_all_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        whole(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    place = tmp_path / "runs" / "a-run" / "run.json"
    durable.write(place, b"{}")
    assert {tmp_path, tmp_path / "runs", place.parent} <= {*synced}
    assert [oct(directory.stat().st_mode)[-3:] for directory in (place.parent, place.parent.parent)] == ["700", "700"]

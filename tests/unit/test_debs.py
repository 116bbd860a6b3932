"""Which router the lab's repository carries, and that its image is named after it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import debs
from tests.lab.errors import LabError


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("LAB_DEBS", raising=False)
    debs.router.cache_clear()
    yield
    debs.router.cache_clear()


def _package(directory: Path, name: str, version: str) -> None:
    control = directory / name / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n"
    control.write_text(fields, encoding="ascii")
    target = directory / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", str(directory / name), str(target)], check=True, capture_output=True)


def test_without_lab_debs_the_router_is_the_stand_in(tmp_path: Path) -> None:
    assert debs.router() == "stand-in"
    debs.stage(tmp_path)
    assert (tmp_path / "router/standin/main.py").is_file()


def test_a_qdrouterd_in_lab_debs_takes_the_stand_ins_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _package(tmp_path, "qdrouterd", "1.19.0-1")
    monkeypatch.setenv("LAB_DEBS", str(tmp_path))
    kit = tmp_path / "kit"
    kit.mkdir()
    debs.stage(kit)
    assert (kit / "router.txt").read_text(encoding="utf-8") == "1.19.0-1"
    assert [file.name for file in (kit / "debs").iterdir()] == ["qdrouterd.deb"]
    assert not (kit / "router").exists()


def test_another_package_joins_and_the_stand_in_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = debs.fingerprint()
    _package(tmp_path, "other", "1")
    monkeypatch.setenv("LAB_DEBS", str(tmp_path))
    assert debs.router() == "stand-in"
    assert debs.fingerprint() != alone


def test_lab_debs_that_is_no_directory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_DEBS", "/no/such/place")
    with pytest.raises(LabError, match="LAB_DEBS=/no/such/place"):
        debs.fingerprint()

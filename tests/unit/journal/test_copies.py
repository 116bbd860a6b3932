from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.journal import Journal
from deployer.errors import RecordRefused
from deployer.journal.copies import HostCopy
from deployer.journal.store import RunStore
from tests.unit.journal.runs import OLD, line


@pytest.fixture
def copy(tmp_path: Path) -> HostCopy:
    return HostCopy(tmp_path / "ctl1")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "ctl1" / "journal.jsonl"


def test_lines_come_back_in_their_order_as_they_were_told(copy: HostCopy) -> None:
    told = [line(1, "doing"), line(1), line(2, "doing", target="jährlich")]
    for one in told:
        copy.append(one)
    assert copy.lines() == told


def test_what_an_agent_journals_is_taken_for_sound(copy: HostCopy, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    journal = Journal(tmp_path / "host", OLD, lambda event: told.append(event["journal"]))
    journal.begin("ann@ops1", "2026-01-01T00:00:00+00:00")
    unsealed = {key: value for key, value in line(1, "doing").items() if key not in ("at", "sum")}
    journal.append(unsealed)
    copy.append(told[0])
    assert copy.lines() == journal.entries()


def test_of_a_host_that_journaled_nothing_there_are_no_lines(copy: HostCopy) -> None:
    copy.settle()
    assert copy.lines() == []


def test_a_line_that_was_torn_is_left_out(copy: HostCopy, journal: Path) -> None:
    copy.append(line(1))
    journal.write_bytes(journal.read_bytes() + b'{"step": "00')
    assert copy.lines() == [line(1)]


@pytest.mark.parametrize("whole", [0, 1, 2])
def test_a_torn_line_does_not_damage_the_next(copy: HostCopy, journal: Path, whole: int) -> None:
    copy.append(line(9))
    journal.write_bytes(b"")
    for number in range(whole):
        copy.append(line(number))
    journal.write_bytes(journal.read_bytes() + b'{"step": "00')
    copy.append(line(7))
    assert copy.lines() == [*(line(number) for number in range(whole)), line(7)]


@pytest.mark.parametrize(("was", "becomes"), [(b"nova-api", b"nova-apj"), (b'"sum"', b'"sun"'), (b"{", b"[")])
def test_a_flipped_byte_in_a_line_is_refused_by_file_and_line(
    copy: HostCopy, journal: Path, was: bytes, becomes: bytes
) -> None:
    copy.append(line(1))
    copy.append(line(2))
    first, second = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + second.replace(was, becomes, 1))
    with pytest.raises(RecordRefused, match=r"journal\.jsonl:2 is damaged") as refused:
        copy.lines()
    assert refused.value.file == f"{journal}:2"


def test_a_flipped_byte_in_a_content_is_refused_by_name(copy: HostCopy, tmp_path: Path) -> None:
    sha256 = copy.keep(b"password = canary")
    (tmp_path / "ctl1" / "blobs" / sha256).write_bytes(b"password = canarz")
    with pytest.raises(RecordRefused, match=f"{sha256} is damaged") as refused:
        copy.blob(sha256)
    assert "canar" not in str(refused.value)


def test_every_content_is_told_by_its_hash(copy: HostCopy) -> None:
    kept = {copy.keep(content): content for content in (b"a", b"b")}
    assert copy.blobs() == kept


def test_a_content_that_was_being_written_when_the_power_went_is_none(copy: HostCopy, tmp_path: Path) -> None:
    sha256 = copy.keep(b"a")
    (tmp_path / "ctl1" / "blobs" / f".{sha256}.new").write_bytes(b"half")
    assert copy.blobs() == {sha256: b"a"}


def test_only_the_owner_can_read_the_copy(copy: HostCopy, journal: Path) -> None:
    copy.append(line(1))
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.parent.stat().st_mode) == 0o700


def test_lines_of_a_wave_that_failed_are_durable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)

    def wave() -> None:
        with store.copying(OLD, ["ctl1", "ctl2"]) as keep:
            keep("ctl1", line(1, "doing"))
            raise OSError("lost")

    durable: list[Path] = []
    monkeypatch.setattr("deployer.journal.durable.sync", durable.append)
    with pytest.raises(OSError, match="lost"):
        wave()
    directory = store.directory(OLD) / "hosts" / "ctl1"
    assert durable[-2:] == [directory / "journal.jsonl", directory]
    assert store.copy(OLD, "ctl1").lines() == [line(1, "doing")]

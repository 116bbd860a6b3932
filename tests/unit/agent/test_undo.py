from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from deployer.agent.deeds import Merged
from deployer.agent.errors import RefusedError, StaleError
from tests.unit.agent.client import file_step, step
from tests.unit.agent.conftest import Programs, Run

OLD = b"old \xff bytes\r\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "nova.conf"
    path.write_bytes(OLD)
    path.chmod(0o640)
    return path


def test_bytes_and_mode_come_back(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new", mode=0o600))
    assert run.undo()[0]["changed"]
    assert (conf.read_bytes(), stat.S_IMODE(conf.stat().st_mode)) == (OLD, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_owner_comes_back(run: Run, conf: Path) -> None:
    os.chown(conf, 1, 4)
    run.apply(file_step(conf, b"new", user="root", group="root"))
    assert conf.stat().st_uid == 0
    run.undo()
    assert (conf.stat().st_uid, conf.stat().st_gid) == (1, 4)


def test_extended_attributes_come_back(run: Run, conf: Path) -> None:
    try:
        os.setxattr(conf, "user.origin", b"packaged")
    except OSError as error:
        pytest.skip(f"no user attributes on this filesystem: {error.strerror}")
    run.apply(file_step(conf, b"new"))
    os.removexattr(conf, "user.origin")
    run.undo()
    assert os.getxattr(conf, "user.origin") == b"packaged"


def test_a_file_made_by_the_run_is_removed_and_its_directory_kept(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "made" / "new.conf"
    run.apply(file_step(path, b"new"))
    assert run.undo()[0]["after"] == {"exists": False, "real": str(path)}
    assert list((tmp_path / "made").iterdir()) == []


def test_a_removed_file_comes_back_as_it_was(run: Run, conf: Path) -> None:
    (result,) = run.apply(step("file.remove", path=str(conf)))
    assert (result["changed"], result["after"], conf.exists()) == (True, {"exists": False, "real": str(conf)}, False)
    assert run.undo()[0]["changed"]
    assert (conf.read_bytes(), stat.S_IMODE(conf.stat().st_mode)) == (OLD, 0o640)


def test_a_removed_file_comes_back_although_its_directory_went_too(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "qpid-dispatch" / "qdrouterd.conf"
    path.parent.mkdir()
    path.write_bytes(OLD)
    run.apply(step("file.remove", path=str(path)))
    path.parent.rmdir()
    run.undo()
    assert path.read_bytes() == OLD


def test_a_file_that_somebody_made_where_one_was_removed_is_refused(run: Run, conf: Path) -> None:
    run.apply(step("file.remove", path=str(conf)))
    conf.write_bytes(b"by hand")
    with pytest.raises(StaleError, match=r"nova\.conf was changed after the run"):
        run.undo()
    assert conf.read_bytes() == b"by hand"


def test_a_file_written_and_removed_by_one_run_goes_back_to_before_both(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"), step("file.remove", "0002", path=str(conf)))
    run.undo()
    assert conf.read_bytes() == OLD


def test_a_symlink_stays_one_through_apply_and_undo(run: Run, conf: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.conf"
    link.symlink_to(conf)
    run.apply(file_step(link, b"new"))
    run.undo()
    assert link.is_symlink()
    assert conf.read_bytes() == OLD


def test_undone_twice_is_undone_once(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    run.undo()
    conf.write_bytes(b"somebody's later work")
    assert run.undo() == []
    assert conf.read_bytes() == b"somebody's later work"


def test_an_undo_cut_off_before_its_line_can_be_repeated(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    conf.write_bytes(OLD)
    conf.chmod(0o640)
    assert not run.undo()[0]["changed"]
    assert run.undo() == []


def test_a_file_changed_since_is_refused_before_anything_is_undone(run: Run, conf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.conf"
    run.apply(file_step(conf, b"new"), file_step(other, b"new", "0002"))
    conf.write_bytes(b"by hand")
    with pytest.raises(StaleError, match=r"nova\.conf was changed after the run"):
        run.undo()
    assert (conf.read_bytes(), other.read_bytes()) == (b"by hand", b"new")


def test_a_removed_file_is_refused_too(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    conf.unlink()
    with pytest.raises(StaleError):
        run.undo()
    assert not conf.exists()


def test_force_puts_the_before_image_back_and_keeps_what_it_overwrites(run: Run, conf: Path, state: Path) -> None:
    run.apply(file_step(conf, b"new"))
    conf.write_bytes(b"by hand")
    run.undo(force=True)
    assert conf.read_bytes() == OLD
    assert b"by hand" in {blob.read_bytes() for blob in (state / "runs/r1/blobs").iterdir()}


def test_the_newest_goes_first_so_that_two_writes_of_one_file_are_undone(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"first"), file_step(conf, b"second", "0002"))
    assert [result["id"] for result in run.undo()] == ["0002", "0001"]
    assert conf.read_bytes() == OLD


def test_one_step_can_be_undone_alone(run: Run, conf: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.conf"
    run.apply(file_step(conf, b"new"), file_step(other, b"new", "0002"))
    run.undo("0001")
    assert (conf.read_bytes(), other.exists()) == (OLD, True)


def test_a_step_carried_out_twice_goes_back_to_before_the_first_time(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"first"))
    run.apply(file_step(conf, b"second"))
    run.undo()
    assert conf.read_bytes() == OLD


def test_a_step_unknown_to_the_run_is_refused(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    with pytest.raises(RefusedError, match="no step 0009"):
        run.undo("0009")
    assert conf.read_bytes() == b"new"


def test_the_installed_packages_are_kept(run: Run, programs: Programs) -> None:
    programs.add("dpkg-query", 'print("rabbitmq-server\\tii \\t3.10.8")')
    run.apply(step("package.install", names=["rabbitmq-server"], manager="apt"))
    (result,) = run.undo()
    assert (result["changed"], result["output"]) == (False, "package.install is kept")
    assert programs.argvs("apt-get") == []


def acts(systemd: Programs) -> list[str]:
    told = [argv for argv in systemd.argvs("systemctl") if argv[0] not in ("show", "reset-failed")]
    return [f"{argv[0]} {argv[-1]}" for argv in told]


@pytest.mark.parametrize(
    ("kind", "unit", "undone"),
    [
        ("unit.start", "b.service", ["start b.service", "stop b.service"]),
        ("unit.start", "a.service", []),
        ("unit.stop", "a.service", ["stop a.service", "start a.service"]),
        ("unit.stop", "b.service", []),
        ("unit.restart", "a.service", ["restart a.service", "restart a.service"]),
        ("unit.restart", "b.service", ["restart b.service", "stop b.service"]),
        ("unit.enable", "b.service", ["enable b.service", "disable b.service"]),
        ("unit.enable", "a.service", []),
        ("unit.disable", "a.service", ["disable a.service", "enable a.service"]),
        ("unit.disable", "b.service", []),
    ],
)
def test_a_unit_goes_back_to_its_state_before(
    run: Run, systemd: Programs, kind: str, unit: str, undone: list[str]
) -> None:
    before = (systemd.directory / "states").read_text()
    run.apply(step(kind, unit=unit, timeout=10))
    run.undo()
    assert acts(systemd) == undone
    assert (systemd.directory / "states").read_text() == before


def test_a_unit_is_restarted_only_after_its_files_are_back(run: Run, systemd: Programs, conf: Path) -> None:
    run.apply(file_step(conf, b"new"), step("unit.restart", "0002", unit="a.service", timeout=10))
    assert [result["id"] for result in run.undo()] == ["0001", "0002"]


def test_a_unit_restarted_often_is_restarted_once(run: Run, systemd: Programs) -> None:
    run.apply(*(step("unit.restart", f"{number}", unit="a", timeout=10) for number in range(3)))
    run.undo()
    assert acts(systemd) == ["restart a.service"] * 4


def test_a_unit_that_the_run_started_and_restarted_is_stopped(run: Run, systemd: Programs) -> None:
    run.apply(step("unit.start", unit="b", timeout=10), step("unit.restart", "0002", unit="b", timeout=10))
    run.undo()
    assert acts(systemd)[2:] == ["stop b.service"]


def test_an_undo_that_broke_off_leaves_a_unit_the_run_started_stopped(run: Run, systemd: Programs) -> None:
    run.apply(step("unit.start", unit="b", timeout=10), step("unit.restart", "0002", unit="b", timeout=10))
    run.undo("0001")
    run.undo()
    assert acts(systemd)[2:] == ["stop b.service"]


def test_a_restart_undone_alone_restarts(run: Run, systemd: Programs) -> None:
    run.apply(step("unit.start", unit="b", timeout=10), step("unit.restart", "0002", unit="b", timeout=10))
    run.undo("0002")
    assert acts(systemd)[2:] == ["restart b.service"]


def test_a_step_done_undone_and_done_again_is_undone_again(run: Run, conf: Path) -> None:
    for content in (b"once", b"twice"):
        run.apply(file_step(conf, content))
        assert conf.read_bytes() == content
        run.undo()
        assert conf.read_bytes() == OLD


def test_a_gone_controller_stops_the_undo_before_the_next_step(run: Run, conf: Path, tmp_path: Path) -> None:
    run.apply(file_step(conf, b"new"), file_step(tmp_path / "b", b"new", "0002"))
    run.gone.set()
    with pytest.raises(Exception, match="controller is gone"):
        run.undo()
    assert conf.read_bytes() == b"new"


def merged(content: bytes | None, now: bytes, number: str = "0001") -> dict[str, Merged]:
    return {number: Merged(content, hashlib.sha256(now).hexdigest())}


def test_merged_content_goes_in_with_the_mode_of_now(run: Run, conf: Path, state: Path) -> None:
    run.apply(file_step(conf, b"new"))
    conf.write_bytes(b"new and theirs")
    conf.chmod(0o604)
    run.undo(merged=merged(b"old and theirs", now=b"new and theirs"))
    assert (conf.read_bytes(), stat.S_IMODE(conf.stat().st_mode)) == (b"old and theirs", 0o604)
    assert b"new and theirs" in {blob.read_bytes() for blob in (state / "runs/r1/blobs").iterdir()}
    assert run.undo() == []


def test_a_file_that_changed_since_the_merge_is_refused_before_anything_is_undone_also_by_force(
    run: Run, conf: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.conf"
    run.apply(file_step(conf, b"new"), file_step(other, b"new", "0002"))
    conf.write_bytes(b"edited once more")
    with pytest.raises(StaleError, match=r"nova\.conf changed since it was compared"):
        run.undo(merged=merged(b"merged", now=b"edited"), force=True)
    assert (conf.read_bytes(), other.read_bytes()) == (b"edited once more", b"new")


def test_a_merge_that_was_cut_off_after_the_file_was_written_can_be_repeated(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    conf.write_bytes(b"merged")
    assert not run.undo(merged=merged(b"merged", now=b"edited"))[0]["changed"]
    assert run.undo() == []


def test_a_merge_to_nothing_removes_the_file(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    run.undo(merged=merged(None, now=b"new"))
    assert not conf.exists()


def test_two_writes_of_one_file_are_merged_once(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"first"), file_step(conf, b"second", "0002"))
    conf.write_bytes(b"second and theirs")
    run.undo(merged=merged(b"old and theirs", now=b"second and theirs"))
    assert conf.read_bytes() == b"old and theirs"


def test_a_merge_of_a_step_unknown_to_the_run_is_refused(run: Run, conf: Path) -> None:
    run.apply(file_step(conf, b"new"))
    with pytest.raises(RefusedError, match="no step 0009"):
        run.undo(merged=merged(b"x", now=b"new", number="0009"))

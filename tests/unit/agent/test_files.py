from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import files, images
from deployer.agent.errors import RefusedError, StaleError, StepError
from deployer.agent.kinds import prepare
from deployer.agent.steps import parse
from deployer.agent.types import StepOutcome
from tests.unit.agent.client import file_step, step
from tests.unit.agent.conftest import Run

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
OLD, NEW = b"[DEFAULT]\ndebug = false\n", b"[DEFAULT]\ndebug = true\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    path = directory / "nova.conf"
    path.write_bytes(OLD)
    path.chmod(0o640)
    return path


def write(path: Path, content: bytes = NEW, **more: Any) -> StepOutcome:
    return prepare(parse(file_step(path, content, **more))).act()


def only_the_old_file(path: Path, content: bytes = OLD) -> bool:
    return path.read_bytes() == content and [item.name for item in path.parent.iterdir()] == [path.name]


def test_content_is_replaced_and_mode_and_owner_are_kept(conf: Path) -> None:
    outcome = write(conf)
    assert outcome.changed
    assert only_the_old_file(conf, NEW)
    assert stat.S_IMODE(conf.stat().st_mode) == 0o640
    assert outcome.after["sha256"] == images.read(str(conf)).sha256


def test_a_symlink_stays_a_symlink(conf: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.conf"
    link.symlink_to(conf)
    write(link)
    assert link.is_symlink()
    assert only_the_old_file(conf, NEW)


@root_only
def test_owner_and_mode_are_set_as_told(conf: Path) -> None:
    write(conf, user="daemon", group="adm", mode=0o600)
    facts = images.read(str(conf)).facts()
    assert (facts["user"], facts["group"], facts["mode"]) == ("daemon", "adm", 0o600)


@root_only
def test_a_foreign_owner_is_kept(conf: Path) -> None:
    os.chown(conf, 1, 4)
    write(conf)
    assert (conf.stat().st_uid, conf.stat().st_gid) == (1, 4)


def test_setgid_and_sticky_bits_survive_the_chown(conf: Path) -> None:
    conf.chmod(0o2640)
    write(conf)
    assert stat.S_IMODE(conf.stat().st_mode) == 0o2640


def test_extended_attributes_are_kept(conf: Path) -> None:
    try:
        os.setxattr(conf, "user.origin", b"packaged")
    except OSError as error:
        pytest.skip(f"no user attributes on this filesystem: {error.strerror}")
    write(conf)
    assert os.getxattr(conf, "user.origin") == b"packaged"


def test_a_new_file_is_private_and_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "new.conf"
    assert write(path, preimage={"sha256": None}).changed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == NEW


def test_the_temporary_file_is_never_readable_by_others(conf: Path) -> None:
    conf.chmod(0o666)
    image = images.read(str(conf))
    seen: list[int] = []
    temporary = files.temporary_of(conf)
    original = os.fchown

    def look(descriptor: int, uid: int, gid: int) -> None:
        seen.append(stat.S_IMODE(temporary.stat().st_mode))
        original(descriptor, uid, gid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fchown", look)
        files.replace(image.real, files.Wanted(NEW, 0o666, os.geteuid(), os.getegid()))
    assert seen == [0o600]


def test_a_file_as_wanted_keeps_its_inode(conf: Path) -> None:
    before = conf.stat()
    outcome = write(conf, OLD, mode=0o640)
    assert not outcome.changed
    assert (conf.stat().st_ino, conf.stat().st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_a_file_as_wanted_gets_the_time_of_its_writing_where_that_is_asked_for(conf: Path) -> None:
    future = time.time() + 3600
    os.utime(conf, (future, future))
    assert write(conf, OLD, mode=0o640, anew=True).changed
    assert conf.read_bytes() == OLD
    assert conf.stat().st_mtime < future


def test_a_wrong_mode_alone_is_a_change(conf: Path) -> None:
    assert write(conf, OLD, mode=0o600).changed
    assert stat.S_IMODE(conf.stat().st_mode) == 0o600


def test_a_changed_file_is_stale_and_named(conf: Path) -> None:
    with pytest.raises(StaleError, match=r"nova\.conf changed"):
        write(conf, preimage={"sha256": "0" * 64})
    assert only_the_old_file(conf)


def test_a_file_that_ought_to_be_absent_is_stale(conf: Path) -> None:
    with pytest.raises(StaleError, match=r"nova\.conf"):
        write(conf, preimage={"sha256": None})
    assert only_the_old_file(conf)


def test_an_edit_between_look_and_rename_is_not_overwritten(conf: Path) -> None:
    prepared = prepare(parse(file_step(conf, NEW)))
    conf.write_bytes(b"by hand")
    with pytest.raises(StaleError, match=r"nova\.conf"):
        prepared.act()
    assert only_the_old_file(conf, b"by hand")


def test_a_killed_runs_leftover_is_cleared_away(conf: Path) -> None:
    files.temporary_of(conf).write_bytes(b"half of it")
    write(conf)
    assert only_the_old_file(conf, NEW)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "fifo"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, make: object) -> None:
    path = tmp_path / "special"
    make(path)  # type: ignore[operator]
    with pytest.raises(RefusedError, match="not a regular file"):
        write(path)


def test_an_unknown_owner_is_refused(conf: Path) -> None:
    with pytest.raises(RefusedError, match="nobody-here"):
        write(conf, user="nobody-here")
    assert only_the_old_file(conf)


@contextmanager
def small_files() -> Iterator[None]:
    """No fixture: pytest itself must be able to write again before it reports the test, to a file perhaps."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(conf: Path) -> None:
    with pytest.raises(StepError, match=r"nova\.conf could not be written: File too large"), small_files():
        write(conf, NEW * 100)
    assert only_the_old_file(conf)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "tiny"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False).returncode:
        pytest.skip("cannot mount here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@root_only
def test_a_full_disk_leaves_the_old_file_and_names_the_remedy(tiny_disk: Path) -> None:
    path = tiny_disk / "nova.conf"
    path.write_bytes(OLD)
    with pytest.raises(StepError, match=os.strerror(errno.ENOSPC)) as caught:
        write(path, b"x" * 200_000)
    assert caught.value.remedy == "Free space on its filesystem"
    assert only_the_old_file(path)


@root_only
def test_a_read_only_filesystem_is_named(tiny_disk: Path) -> None:
    path = tiny_disk / "nova.conf"
    path.write_bytes(OLD)
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    with pytest.raises(StepError, match="Read-only") as caught:
        write(path)
    assert "read-only" in caught.value.remedy
    assert only_the_old_file(path)


@root_only
def test_an_immutable_file_is_named(conf: Path) -> None:
    if subprocess.run(["chattr", "+i", conf], check=False, capture_output=True).returncode:
        pytest.skip("no immutable files on this filesystem")
    try:
        with pytest.raises(StepError, match=r"nova\.conf") as caught:
            write(conf)
        assert "chattr -i" in caught.value.remedy
        assert only_the_old_file(conf)
    finally:
        subprocess.run(["chattr", "-i", conf], check=True)


def test_an_image_does_not_show_its_content(conf: Path) -> None:
    assert b"debug" not in repr(images.read(str(conf))).encode()


def test_the_removal_of_a_changed_file_is_stale_and_changes_nothing(run: Run, conf: Path) -> None:
    other = conf.with_name("other.conf")
    removal = {**step("file.remove", "0002", path=str(conf)), "preimage": {"sha256": "0" * 64}}
    with pytest.raises(StaleError, match="changed since the plan was made"):
        run.apply(file_step(other, b"new"), removal)
    assert conf.exists()
    assert not other.exists()


def test_the_removal_of_an_absent_file_is_no_change(run: Run, tmp_path: Path) -> None:
    (result,) = run.apply(step("file.remove", path=str(tmp_path / "absent")))
    assert not result["changed"]

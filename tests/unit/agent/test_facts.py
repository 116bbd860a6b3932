from __future__ import annotations

import base64
import hashlib
import socket
from pathlib import Path

from tests.unit.agent.client import Client
from tests.unit.agent.conftest import Programs


def test_the_answer_has_the_shape_of_the_contract(agent: Client, programs: Programs, tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_bytes(b"[DEFAULT]\n")
    programs.add("systemctl", 'print("Id=a.service\\nLoadState=loaded\\nActiveState=inactive\\nMainPID=0")')
    answer = agent.ask("facts", files={str(conf): None}, units=["a.service"], packages=[])
    assert set(answer) == {"host", "files", "units", "packages", "rabbitmq"}
    assert set(answer["host"]) == {
        "hostname",
        "os_id",
        "os_version",
        "os_like",
        "python",
        "package_manager",
        "boot_id",
        "time",
    }
    assert answer["host"]["hostname"] == socket.gethostname()
    assert set(answer["files"][str(conf)]) == {
        "exists",
        "real",
        "sha256",
        "size",
        "mode",
        "uid",
        "gid",
        "user",
        "group",
        "inode",
        "mtime_ns",
        "ctime_ns",
        "content_b64",
    }
    assert answer["rabbitmq"] is None


def test_a_files_bytes_travel_unless_they_are_known(agent: Client, tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_bytes(b"\xff\x00 bytes\r\n")
    sha256 = hashlib.sha256(conf.read_bytes()).hexdigest()
    first = agent.ask("facts", files={str(conf): None})["files"][str(conf)]
    assert base64.b64decode(first["content_b64"]) == conf.read_bytes()
    assert first["sha256"] == sha256
    assert "content_b64" not in agent.ask("facts", files={str(conf): sha256})["files"][str(conf)]
    assert "content_b64" in agent.ask("facts", files={str(conf): "0" * 64})["files"][str(conf)]


def test_a_file_behind_a_symlink_is_told_with_its_real_path(agent: Client, tmp_path: Path) -> None:
    (tmp_path / "real.conf").write_bytes(b"x")
    link = tmp_path / "link.conf"
    link.symlink_to("real.conf")
    assert agent.ask("facts", files={str(link): None})["files"][str(link)]["real"] == str(tmp_path / "real.conf")


def test_absent_and_dangling_files_do_not_exist(agent: Client, tmp_path: Path) -> None:
    dangling = tmp_path / "dangling"
    dangling.symlink_to("nowhere")
    paths = [str(dangling), str(tmp_path / "absent"), str(tmp_path / "no" / "directory")]
    files = agent.ask("facts", files=dict.fromkeys(paths))["files"]
    assert files == {path: {"exists": False} for path in paths}


def test_a_path_that_is_no_file_is_refused_by_name(agent: Client, tmp_path: Path) -> None:
    error = agent.ask("facts", files={str(tmp_path): None})["error"]
    assert error["type"] == "refused"
    assert str(tmp_path) in error["problem"]


def test_facts_leave_no_trace(agent: Client, state: Path, tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    conf.write_bytes(b"x")

    def seen() -> list[tuple[str, int, int]]:
        found = [(str(path), path.stat()) for path in (tmp_path, *sorted(tmp_path.rglob("*")))]
        return [(path, status.st_mtime_ns, status.st_ctime_ns) for path, status in found]

    before = seen()
    agent.ask("facts", files={str(conf): None})
    assert seen() == before
    assert not state.exists()

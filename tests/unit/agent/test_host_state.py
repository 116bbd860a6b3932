from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deployer.agent import host_state
from deployer.agent.errors import RefusedError
from tests.unit.agent.conftest import Programs

# As Linux 6.1 printed them on a host with two interfaces: the same table twice, as Main and as Local.
FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.77.0.0/24 2 0 1
        |-- 10.77.0.0
           /24 link UNICAST
        |-- 10.77.0.21
           /32 host LOCAL
        |-- 10.77.0.255
           /32 link BROADCAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.77.0.0/24 2 0 1
        |-- 10.77.0.21
           /32 host LOCAL
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
"""
IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fd000000000000000000000000000021 02 40 00 80     eth0
"""
SYSTEMCTL = """
if argv[0] == "list-units":
    print("nova-api.service loaded active running Nova API\\nssh.service loaded active running SSH")
else:
    print("Id=nova-api.service\\nMainPID=7\\n\\nMainPID=0\\nId=ssh.service")
"""


def test_own_addresses_are_told_of_both_versions_and_no_network_or_broadcast_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fib_trie").write_text(FIB_TRIE)
    (tmp_path / "if_inet6").write_text(IF_INET6)
    monkeypatch.setattr(host_state, "FIB_TRIE", tmp_path / "fib_trie")
    monkeypatch.setattr(host_state, "IF_INET6", tmp_path / "if_inet6")
    assert host_state.addresses() == ["10.77.0.21", "127.0.0.1", "::1", "fd00::21"]


def test_a_host_without_ipv6_has_no_such_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_state, "IF_INET6", tmp_path / "absent")
    assert "127.0.0.1" in host_state.addresses()
    assert not [address for address in host_state.addresses() if ":" in address]


def test_running_services_are_told_with_the_paths_of_their_command_line_and_no_other_word(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.add("systemctl", SYSTEMCTL)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_text("/usr/bin/python3\0/usr/bin/nova-api\0--password\0s3cret\0")
    monkeypatch.setattr(host_state, "PROC", tmp_path)
    assert host_state.services() == [
        {"unit": "nova-api.service", "argv": ["/usr/bin/python3", "/usr/bin/nova-api"]},
        {"unit": "ssh.service", "argv": []},
    ]


def test_a_host_without_systemd_is_refused_by_name(programs: Programs) -> None:
    programs.add("systemctl", "sys.exit('System has not been booted with systemd')")
    with pytest.raises(RefusedError, match="not been booted with systemd"):
        host_state.services()


def test_free_space_is_that_of_the_file_system_the_state_directory_is_going_to_be_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    programs.add("systemctl")
    monkeypatch.setenv("HYBRIDMSG_STATE", str(tmp_path / "not" / "there" / "yet"))
    disk = host_state.state()["disk"]
    found = os.statvfs(tmp_path)
    assert list(disk) == [str(tmp_path / "not" / "there" / "yet"), "/etc"]
    assert disk[str(tmp_path / "not" / "there" / "yet")] == pytest.approx(found.f_bavail * found.f_frsize, rel=0.1)


def test_the_clock_is_read_last(programs: Programs) -> None:
    programs.add("systemctl", "import time; time.sleep(0.3)")
    began = time.time()
    assert host_state.state()["time"] >= began + 0.3

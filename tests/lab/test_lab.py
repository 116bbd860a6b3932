"""The lab keeps its own promises: a test on hosts that are not what they seem would prove nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.lab import Lab, LabError, network
from tests.lab.layout import SERVICES

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def spare(lab: Lab) -> Iterator[str]:
    """A host of this module's own: what is done to it disturbs no other test."""
    name = "spare"
    if name in lab.hosts:
        lab.remove(name)
    lab.add_bare(name)
    yield name
    lab.remove(name)


def _everywhere(lab: Lab, command: str) -> dict[str, str]:
    return {name: lab.run(name, command).stdout.strip() for name in lab.hosts}


@pytest.mark.parametrize("what", ["/etc/ssh/ssh_host_ed25519_key.pub", "/etc/machine-id", "/etc/hostname"])
def test_each_host_has_its_own_identity(lab: Lab, what: str) -> None:
    contents = _everywhere(lab, f"cat {what}")
    assert all(contents.values())
    assert len(set(contents.values())) == len(contents)


def test_names_resolve_on_every_host(lab: Lab) -> None:
    expected = {name: host.address for name, host in lab.hosts.items()}
    command = "for n in " + " ".join(expected) + "; do getent ahostsv4 $n | awk '{print $1; exit}'; done"
    for name, addresses in _everywhere(lab, command).items():
        assert addresses.split() == [*expected.values()], name


def test_no_host_has_a_way_out(lab: Lab) -> None:
    for name, routes in _everywhere(lab, "ip route show default; ip -6 route show default").items():
        assert routes == "", name
    # TEST-NET-1: an address no machine answers at; without a route the kernel refuses at once.
    out = lab.run("msg1", "ping -c 1 -W 2 192.0.2.1", check=False)
    assert out.returncode != 0
    assert "unreachable" in (out.stdout + out.stderr).lower()


def test_a_bare_host_has_no_rabbitmq_but_can_get_it(lab: Lab, spare: str) -> None:
    assert lab.run(spare, "dpkg-query -W rabbitmq-server", check=False).returncode != 0
    lab.run(spare, ["apt-get", "update", "-q"])
    simulated = lab.run(spare, ["apt-get", "install", "--simulate", "rabbitmq-server"])
    assert "Inst rabbitmq-server" in simulated.stdout


def test_python_on_a_bare_host_has_its_whole_standard_library(lab: Lab) -> None:
    lab.run("msg1", ["python3", "-I", "-c", "import json, hashlib, fcntl, selectors, zipimport, ssl, sqlite3, lzma"])


@pytest.mark.parametrize("controller", ["ctl1", "ctl2"])
def test_the_services_of_a_controller_run(lab: Lab, controller: str) -> None:
    states = lab.run(controller, ["systemctl", "is-active", *SERVICES], check=False)
    assert states.stdout.split() == ["active"] * len(SERVICES)


def test_the_operator_reaches_every_host_by_name_and_address(lab: Lab) -> None:
    for name, host in lab.hosts.items():
        for target in (name, host.address):
            seen = lab.run("ops1", ["ssh", "-oBatchMode=yes", f"deploy@{target}", "sudo -n id -u; hostname"])
            assert seen.stdout.split() == ["0", name]


def test_sudo_asks_the_user_asks_for_a_password(lab: Lab) -> None:
    refused = lab.run("ops1", ["ssh", "-oBatchMode=yes", "asks@msg1", "sudo -n true"], check=False)
    assert refused.returncode != 0
    assert "password is required" in refused.stderr


def test_files_are_read_and_written_as_bytes(lab: Lab) -> None:
    lab.write("msg1", "/root/lab-file", b"\x00\xff\n", mode=0o640)
    assert lab.read("msg1", "/root/lab-file") == b"\x00\xff\n"
    assert lab.run("msg1", "stat -c %a /root/lab-file; rm /root/lab-file").stdout.strip() == "640"
    with pytest.raises(LabError, match="No such file"):
        lab.read("msg1", "/root/lab-file")


def test_a_command_gets_its_user_environment_and_input(lab: Lab) -> None:
    done = lab.run("msg1", 'id -un; echo "$X"; cat', user="deploy", env={"X": "x y"}, input=b"fed")
    assert done.stdout.splitlines() == ["deploy", "x y", "fed"]


def test_a_command_past_its_deadline_leaves_no_process(lab: Lab) -> None:
    with pytest.raises(LabError, match="no end after 1 s"):
        lab.run("msg1", "sleep 4242", timeout=1)
    assert lab.run("msg1", ["pgrep", "-xf", "sleep 4242"], check=False).stdout == ""


def test_popen_takes_a_ctrl_c(lab: Lab) -> None:
    with lab.popen("msg1", "echo ready; exec sleep 4243", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=10) != 0
    assert lab.run("msg1", ["pgrep", "-xf", "sleep 4243"], check=False).stdout == ""


def test_an_added_host_is_known_to_all(lab: Lab, spare: str) -> None:
    assert lab.run("ops1", ["ssh", "-oBatchMode=yes", spare, "hostname"]).stdout.strip() == spare
    assert lab.hosts[spare].address in lab.read("msg1", "/etc/hosts").decode()


def test_what_a_host_wrote_outlives_a_power_cut(lab: Lab, spare: str) -> None:
    lab.write(spare, "/etc/motd", b"changed\n")
    lab.power_off(spare)
    with pytest.raises(LabError, match="not running"):
        lab.run(spare, "true")
    lab.boot(spare)
    assert lab.read(spare, "/etc/motd") == b"changed\n"


def test_up_heals_a_host_whose_nspawn_was_killed(lab: Lab, spare: str) -> None:
    lab.write(spare, "/etc/motd", b"changed\n")
    _kill_nspawn(lab, spare)
    lab.up()
    assert lab.read(spare, "/etc/motd") == b"changed\n"


def test_reset_brings_back_a_changed_file_and_keeps_the_host_key(lab: Lab, spare: str) -> None:
    key = lab.read(spare, "/etc/ssh/ssh_host_ed25519_key.pub")
    lab.write(spare, "/etc/motd", b"changed\n")
    lab.reset(spare)
    assert lab.read(spare, "/etc/motd") != b"changed\n"
    assert lab.read(spare, "/etc/ssh/ssh_host_ed25519_key.pub") == key


def test_a_removed_host_is_gone(lab: Lab) -> None:
    lab.add_bare("passing")
    lab.remove("passing")
    assert "passing" not in lab.hosts
    assert "passing" not in lab.read("msg1", "/etc/hosts").decode()
    assert not lab.layout.cgroup.child("passing").exists()


def test_the_bridge_keeps_its_hardware_address_when_the_host_with_the_lowest_goes(lab: Lab) -> None:
    bridge = ["ip", "-n", lab.layout.netns()]
    lab.add_bare("passing")
    subprocess.run([*bridge, "link", "set", "v-passing", "address", "02:00:00:00:00:01"], check=True)
    lab.remove("passing")
    shown = subprocess.run([*bridge, "link", "show", network.BRIDGE], check=True, capture_output=True).stdout
    assert network.hardware_address(network.GATEWAY) in shown.decode()


def test_a_host_with_a_removed_ones_address_answers_others_at_once(lab: Lab) -> None:
    answered = []
    for name in ("passing", "following"):
        address = lab.add_bare(name).address
        answered.append((address, lab.run("msg1", ["ping", "-c1", "-W2", address], check=False).returncode))
        lab.remove(name)
    assert answered == [(answered[0][0], 0)] * 2


def test_up_is_quick_and_changes_nothing_when_all_is_well(lab: Lab) -> None:
    lab.up()
    before = {name: lab.machine(name).leader for name in lab.hosts}
    started = time.monotonic()
    lab.up()
    assert time.monotonic() - started < 15  # about 1 s on an idle machine
    assert {name: lab.machine(name).leader for name in lab.hosts} == before


def _kill_nspawn(lab: Lab, name: str) -> None:
    """Kill systemd-nspawn itself, which leaves the payload running without it."""
    machine = lab.machine(name)
    os.kill(int((machine.directory / "nspawn.pid").read_text(encoding="ascii")), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while machine.alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)

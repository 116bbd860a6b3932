from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from deployer.agent import apache, interpreters, processes, units
from tests.unit.agent.conftest import Programs
from tests.unit.agent.running import SLEEP, Daemon, block, systemd


def test_the_interpreter_is_the_venvs_own_python(programs: Programs, daemon: Daemon, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(os.path.realpath(sys.executable))
    program = tmp_path / "nova-conductor"
    program.write_text(f"#!{python}\n{SLEEP}\n")
    program.chmod(0o755)
    pid = daemon(str(program), "--config-file", "/etc/nova/nova.conf")
    systemd(programs, block("nova.service", MainPID=pid))
    facts = units.facts(["nova"])["nova"]
    assert facts["interpreter"] == str(python)
    assert facts["argv"] == [str(python), str(program), "--config-file", "/etc/nova/nova.conf"]


def test_a_bare_python_is_found_on_path(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("python3", "-c", SLEEP, executable=sys.executable)
    systemd(programs, block("nova.service", MainPID=pid))
    assert units.facts(["nova"])["nova"]["interpreter"] == shutil.which("python3")


def test_a_process_that_rewrote_its_title_is_known_by_its_program(
    programs: Programs, daemon: Daemon, tmp_path: Path
) -> None:
    program = tmp_path / "neutron-server"
    program.write_text("#!/openstack/venvs/neutron/bin/python3\n")
    pid = daemon("neutron-server: master process", "-c", SLEEP, executable=sys.executable)
    started = f"{{ path={program} ; argv[]={program} ; ignore_errors=no }}"
    systemd(programs, block("neutron.service", MainPID=pid, ExecStart=started))
    assert units.facts(["neutron"])["neutron"]["interpreter"] == "/openstack/venvs/neutron/bin/python3"


def test_a_cotyledon_service_is_read_out_of_its_title(programs: Programs, daemon: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "ceilometer-agent-notification"
    program.write_text("#!/openstack/venvs/ceilometer/bin/python3\n")
    title = f"ceilometer-agent-notification: master process [{program} --config-file=/etc/c.conf]"
    pid = daemon(title, executable=sys.executable, program=SLEEP)
    systemd(programs, block("ceilometer.service", MainPID=pid))
    facts = units.facts(["ceilometer"])["ceilometer"]
    assert facts["argv"] == [str(program), "--config-file=/etc/c.conf"]
    assert facts["interpreter"] == "/openstack/venvs/ceilometer/bin/python3"


def test_behind_an_init_script_the_process_itself_tells(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("heat-engine: worker", "-c", SLEEP, executable=os.path.realpath(sys.executable))
    systemd(programs, block("heat.service", MainPID=pid, ExecStart="{ path=/etc/init.d/x ; argv[]=x }"))
    assert units.facts(["heat"])["heat"]["interpreter"] == os.path.realpath(sys.executable)


def test_a_program_without_python_has_no_interpreter(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("sh", "-c", "echo; exec sleep 60")
    systemd(programs, block("a.service", MainPID=pid))
    assert units.facts(["a"])["a"]["interpreter"] is None


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"#!/usr/bin/python3 -I\n", "/usr/bin/python3"),
        (b"#! /opt/v/bin/python\n", "/opt/v/bin/python"),
        (b"#!/usr/bin/env sh\n", shutil.which("sh")),
        (b"\x7fELF", None),
        (b"#!\n", None),
    ],
)
def test_a_programs_interpreter_is_on_its_first_line(tmp_path: Path, first: bytes, expected: str | None) -> None:
    program = tmp_path / "program"
    program.write_bytes(first)
    assert interpreters.shebang(str(program)) == expected
    assert interpreters.shebang(str(tmp_path / "absent")) is None


def uwsgi(programs: Programs, pid: int) -> str | None:
    systemd(programs, block("api.service", MainPID=pid))
    found: str | None = units.facts(["api"])["api"]["interpreter"]
    return found


@pytest.mark.parametrize("option", ["virtualenv", "venv", "home", "pyhome"])
def test_a_uwsgi_services_python_is_its_virtual_environments(
    programs: Programs, daemon: Daemon, tmp_path: Path, option: str
) -> None:
    python = tmp_path / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    ini = tmp_path / "api.ini"
    ini.write_text(f"[uwsgi]\n{option} = {tmp_path}/venv\n")
    pid = daemon("uwsgi", "-c", SLEEP, "--ini", str(ini), executable=sys.executable)
    assert uwsgi(programs, pid) == str(python)


MAPS = "7f0-7f1 r-xp 00000000 fe:00 1  {}\n"


@pytest.mark.parametrize(
    ("mapped", "expected"),
    [
        ("{root}/lib/x86_64-linux-gnu/libpython3.11.so.1.0", "{root}/bin/python3.11"),
        ("{root}/lib64/libpython3.11.so.1.0", "{root}/bin/python3.11"),
        ("{root}/lib/python3.11/lib-dynload/_json.cpython-311.so", "{root}/bin/python3.11"),
        ("{root}/lib/libc.so.6", None),
    ],
)
def test_without_one_it_is_that_of_the_library_in_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: str, expected: str | None
) -> None:
    python = tmp_path / "bin" / "python3.11"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    memory = MAPS.format("/usr/bin/uwsgi-core") + MAPS.format(mapped.format(root=tmp_path))
    monkeypatch.setattr(processes, "text", {"/proc/7/maps": memory}.get)
    found = interpreters.of_process(7, ["uwsgi"], "")
    assert found == (expected and expected.format(root=tmp_path))


SITE = """
<VirtualHost *:5000>
    # WSGIDaemonProcess keystone-old python-home=/old
    WSGIDaemonProcess heat user=heat
    WSGIDaemonProcess public processes=4 user=keystone "python-home={venv}" display-name=%{GROUP}
</VirtualHost>
"""


def test_mod_wsgis_python_is_the_home_of_the_projects_daemon_processes(
    programs: Programs, daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "site.conf").write_text(SITE.replace("{venv}", f"{tmp_path}/venv"))
    monkeypatch.setattr(apache, "SITES", (f"{tmp_path}/*.conf",))
    pid = daemon("/usr/sbin/apache2", "-c", SLEEP, executable=sys.executable)
    systemd(programs, block("apache2.service", MainPID=pid))
    facts = units.facts({"apache2": {"project": "keystone", "program": "keystone"}})["apache2"]
    assert facts["interpreter"] == str(python)
    assert apache.daemon_options("heat") == {"user": "heat"}
    assert apache.daemon_options("nova") == {}

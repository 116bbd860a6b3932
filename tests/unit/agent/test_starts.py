"""What a unit reads is told from its real start: real processes, real init scripts, systemd's own words."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import config_files, starts, units
from tests.unit.agent.client import Client
from tests.unit.agent.conftest import Programs
from tests.unit.agent.running import SLEEP, Daemon, block, systemd

NOVA = {"project": "nova", "program": "nova-conductor"}


def told(programs: Programs, pid: int = 0, started: str = "", **properties: object) -> dict[str, Any]:
    """Return the unit's `config`; `started` is its command line as systemctl shows it, without quotes."""
    path = started.partition(" ")[0]
    exec_start = f"{{ path={path} ; argv[]={started} ; ignore_errors=no ; start_time=[n/a] ; pid=0 }}"
    shown = {"ExecStart": exec_start} if started else {}
    systemd(programs, block("nova.service", MainPID=pid, **shown, **properties))
    found: dict[str, Any] = units.facts({"nova": NOVA})["nova"]["config"]
    return found


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scratch /etc with nova.conf, which the default search finds."""
    (tmp_path / "etc" / "nova").mkdir(parents=True)
    (tmp_path / "etc" / "nova" / "nova.conf").write_text("[DEFAULT]\n")
    monkeypatch.setattr(config_files, "ETC", f"{tmp_path}/etc")
    return tmp_path / "etc"


def searched(etc: Path, problem: str = "") -> dict[str, Any]:
    return {"files": [f"{etc}/nova/nova.conf"], "from": "default search", "problem": problem}


def from_(origin: str, *files: str) -> dict[str, Any]:
    return {"files": list(files), "from": origin, "problem": ""}


def test_a_running_process_tells_and_not_the_unit_file_that_was_changed_since(
    programs: Programs, daemon: Daemon
) -> None:
    pid = daemon("python3", "-c", SLEEP, "--config-file", "/a.conf", "--config-file=/b.conf", executable=sys.executable)
    found = told(programs, pid, "/usr/bin/nova-conductor --config-file /new.conf")
    assert found == from_("process", "/a.conf", "/b.conf")


def test_a_process_without_a_word_on_files_searches(programs: Programs, daemon: Daemon, etc: Path) -> None:
    pid = daemon("python3", "-c", SLEEP, executable=sys.executable)
    assert told(programs, pid) == searched(etc)


def test_a_relative_path_is_where_the_process_stands(programs: Programs, daemon: Daemon, tmp_path: Path) -> None:
    pid = daemon("python3", "-c", SLEEP, "--config-file", "nova.conf", executable=sys.executable, cwd=tmp_path)
    assert told(programs, pid)["files"] == [f"{tmp_path}/nova.conf"]


def test_home_is_the_processs_own(programs: Programs, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / ".nova").mkdir()
    (tmp_path / ".nova" / "nova.conf").write_text("")
    pid = daemon("python3", "-c", SLEEP, executable=sys.executable, env={"HOME": str(tmp_path)})
    assert told(programs, pid)["files"] == [f"{tmp_path}/.nova/nova.conf"]


@pytest.mark.parametrize(
    "title",
    [
        "nova-conductor: master process [/usr/bin/nova-conductor --config-file /a.conf]",
        "neutron-l3-agent (/usr/bin/python3 /usr/bin/neutron-l3-agent --config-file /a.conf)",
        "neutron-server: rpc worker (/usr/bin/python3 /usr/bin/neutron-server --config-file /a.conf)",
    ],
)
def test_a_title_that_has_the_command_line_tells_it(programs: Programs, daemon: Daemon, title: str) -> None:
    pid = daemon(title, executable=sys.executable, program=SLEEP)
    assert told(programs, pid, "/usr/bin/x --config-file /b.conf") == from_("process", "/a.conf")


def test_a_title_that_has_none_leaves_it_to_the_unit_file(programs: Programs, daemon: Daemon, etc: Path) -> None:
    pid = daemon("octavia-driver-agent - status", executable=sys.executable, program=SLEEP)
    assert told(programs, pid, "/usr/bin/x --config-file /b.conf") == from_("unit file", "/b.conf")
    assert told(programs, pid) == searched(etc, "its process tells no command line, and systemd has none for it")


def test_behind_a_shell_its_child_is_the_service(programs: Programs, daemon: Daemon) -> None:
    python = f"{sys.executable} -c '{SLEEP}' --config-file /a.conf"
    pid = daemon("sh", "-c", f"{python}; true", env={**os.environ, "OS_DEFAULT__X": "1"})
    systemd(programs, block("nova.service", MainPID=pid))
    facts = units.facts({"nova": NOVA})["nova"]
    assert facts["config"] == from_("process", "/a.conf")
    assert facts["interpreter"] == sys.executable
    assert facts["environment"] == ["OS_DEFAULT__X"]


def test_a_stopped_unit_is_told_by_its_unit_file(programs: Programs) -> None:
    found = told(
        programs, 0, "/usr/bin/nova-conductor --config-file /a.conf --logfile /var/log/x", WorkingDirectory="/"
    )
    assert found == from_("unit file", "/a.conf")


def test_variables_of_systemd_are_filled_in(programs: Programs, tmp_path: Path) -> None:
    options = tmp_path / "options"
    options.write_text("# D=/no\nD=/d.conf\nMANY='--config-file /1.conf --config-file /2.conf'\n")
    line = "/usr/bin/x --config-file ${A} --config-file=${B}/b.conf --config-file /$$C --config-file $D $MANY ${NONE}"
    found = told(
        programs,
        0,
        line,
        Environment='A=/a.conf "B=/b b" D=/lost.conf',
        EnvironmentFiles=f"{options} (ignore_errors=no)",
    )
    assert found["files"] == ["/a.conf", "/b b/b.conf", "/$C", "/d.conf", "/1.conf", "/2.conf"]


def test_a_shell_in_the_unit_file_is_read_through(programs: Programs) -> None:
    line = "/bin/sh -c exec /usr/bin/nova-conductor --config-file /a.conf --config-file '/b.conf'"
    assert told(programs, 0, line) == from_("unit file", "/a.conf", "/b.conf")


def test_what_a_stopped_units_shell_script_starts_is_not_guessed(programs: Programs, tmp_path: Path, etc: Path) -> None:
    script = tmp_path / "start-nova"
    script.write_text("#!/bin/sh\nexec nova-conductor --config-file /a.conf\n")
    assert told(programs, 0, str(script)) == searched(
        etc, f"{script} is a shell script: what it starts can be told while it runs only"
    )


def test_the_home_of_a_stopped_unit_is_its_users(programs: Programs) -> None:
    found = told(
        programs, 0, "/usr/bin/x --config-file ~/a.conf --config-file b.conf", User="daemon", WorkingDirectory="~"
    )
    home = pwd.getpwnam("daemon").pw_dir
    assert found["files"] == [f"{home}/a.conf", f"{home}/b.conf"]


SHOW_ARGS = """#!/bin/sh
DAEMON_ARGS="--config-file=/etc/nova/nova.conf --config-dir={d} $DAEMON_ARGS"
echo "a word of warning"
id -un > {d}/who
case "$1" in
systemd-start) exit 1 ;;
show-args) echo /usr/bin/nova-conductor $DAEMON_ARGS {more} ;;
esac
"""


def init_script(directory: Path, monkeypatch: pytest.MonkeyPatch, more: str = "", text: str = SHOW_ARGS) -> Path:
    monkeypatch.setattr(starts, "INIT_SCRIPTS", f"{directory}/")
    script = directory / "nova-conductor"
    script.write_text(text.replace("{d}", str(directory)).replace("{more}", more))
    script.chmod(0o755)
    directory.chmod(0o777)
    (directory / "1.conf").write_text("")
    return script


def test_debians_init_script_is_asked_with_the_units_own_variables(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = init_script(tmp_path, monkeypatch)
    found = told(programs, 0, f"{script} systemd-start", Environment="DAEMON_ARGS=--config-file=/z.conf")
    assert found == from_("init script", "/etc/nova/nova.conf", f"{tmp_path}/1.conf", "/z.conf")


def test_debians_uwsgi_services_are_told_by_their_pyargv(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api.ini").write_text("[uwsgi]\nchdir = /var/lib/nova\nenv = OS_DEFAULT__X=1\nthreads = 32\n")
    more = f'--ini {tmp_path}/api.ini --pyargv \\"--config-dir={tmp_path} --config-file=nova.conf\\"'
    script = init_script(
        tmp_path, monkeypatch, text=SHOW_ARGS.replace("nova-conductor $DAEMON_ARGS", "uwsgi"), more=more
    )
    found = told(programs, 0, f"{script} systemd-start")
    assert found == from_("uwsgi", f"{tmp_path}/1.conf", "/var/lib/nova/nova.conf")
    facts = units.facts({"nova": NOVA})["nova"]
    assert (facts["environment"], facts["threads"]) == (["OS_DEFAULT__X"], 32)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_init_script_runs_as_the_units_user(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own is root's alone
        script = init_script(Path(name), monkeypatch)
        assert told(programs, 0, f"{script} systemd-start", User="daemon")["from"] == "init script"
        assert Path(name, "who").read_text() == "daemon\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/bin/sh\ntouch {d}/ran\necho /usr/bin/x --config-file /a\n", "is not of openstack-pkg-tools"),
        ("#!/bin/sh\n# show-args\nexit 0\n", "show-args tells no command line"),
        ("#!/bin/sh\n# show-args\necho No core_plugin= value found: please set it\n", "tells no command line"),
        ("#!/bin/sh\n# show-args\necho /usr/bin/x --config-file /a; exit 3\n", "tells no command line"),
        ("#!/bin/sh\n# show-args\nsleep 60; echo /usr/bin/x --config-file /a\n", "tells no command line"),
        ("#!/nowhere/sh\n# show-args\n", "cannot be started"),
    ],
)
def test_an_init_script_that_cannot_be_asked_is_named_and_the_default_search_stands(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, etc: Path, text: str, problem: str
) -> None:
    monkeypatch.setattr(starts, "SHOW_ARGS_TIMEOUT", 0.5)
    script = init_script(tmp_path, monkeypatch, text=text)
    found = told(programs, 0, f"{script} systemd-start")
    assert problem in found["problem"]
    assert found == searched(etc, found["problem"])
    assert not (tmp_path / "ran").exists()


def test_apaches_own_words_are_not_the_programs(programs: Programs, daemon: Daemon, etc: Path) -> None:
    pid = daemon("/usr/sbin/apache2", "-c", SLEEP, "--config-file", "/a.conf", executable=sys.executable)
    systemd(programs, block("apache2.service", MainPID=pid))
    found = units.facts({"apache2": {"project": "cinder", "program": "cinder-api"}})["apache2"]["config"]
    assert found == {"files": [], "from": "default search", "problem": ""}


def test_a_stopped_apache_is_started_by_a_script_that_is_known(programs: Programs, tmp_path: Path, etc: Path) -> None:
    script = tmp_path / "apachectl"
    script.write_text("#!/bin/sh\n")
    assert told(programs, 0, f"{script} start")["problem"] == ""


def test_a_uwsgi_that_cannot_be_understood_is_named(programs: Programs, daemon: Daemon) -> None:
    pid = daemon("uwsgi", "-c", SLEEP, "--emperor", "/v", "--pyargv", "--config-file=/a", executable=sys.executable)
    found = told(programs, pid)
    assert "--emperor" in found["problem"]
    assert found["files"] == ["/etc/nova/api-paste.ini", "/etc/nova/nova.conf"]


def test_no_value_of_an_environment_is_in_a_repr(daemon: Daemon) -> None:
    pid = daemon(
        "python3", "-c", SLEEP, executable=sys.executable, env={"OS_DEFAULT__TRANSPORT_URL": "rabbit://s3cret"}
    )
    assert "s3cret" not in repr(starts.of_unit(pid, {"Environment": "A=s3cret"}))


def test_files_are_told_for_units_that_exist_and_that_are_asked_for(programs: Programs, etc: Path) -> None:
    systemd(programs, block("a.service"), block("b.service", LoadState="not-found"), block("c.service"))
    found = units.facts({"a": NOVA, "b": NOVA, "c": {"project": "", "program": ""}})
    assert [unit["config"] for unit in found.values()] == [searched(etc), None, None]
    assert units.facts(["a"])["a"]["config"] is None


def test_a_file_that_is_none_is_left_out_and_named_unless_it_is_dev_null(programs: Programs, tmp_path: Path) -> None:
    line = f"/usr/bin/x --config-file /dev/null --config-file /a.conf --config-file {tmp_path}"
    found = told(programs, 0, line)
    assert found["files"] == ["/a.conf"]
    assert found["problem"] == f"{tmp_path} is not a regular file"


def test_what_a_unit_reads_travels_with_the_answer_and_no_known_byte_twice(
    agent: Client, programs: Programs, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    line = f"/usr/bin/x --config-file {tmp_path}/a --config-file {tmp_path}/b --config-file {tmp_path}/gone"
    exec_start = f"{{ path=/usr/bin/x ; argv[]={line} ; ignore_errors=no }}"
    systemd(programs, block("nova.service", ExecStart=exec_start), block("api.service", ExecStart=exec_start))
    asked = {"nova": NOVA, "api": NOVA}
    first = agent.ask("facts", files={"/other": None}, units=asked)
    assert sorted(first["files"]) == sorted(["/other", *first["units"]["nova"]["config"]["files"]])
    known = {path: entry["sha256"] for path, entry in first["files"].items() if entry["exists"]}
    again = agent.ask("facts", files=known, units=asked)["files"]
    assert [sorted(path for path in files if "content_b64" in files[path]) for files in (first["files"], again)] == [
        [f"{tmp_path}/a", f"{tmp_path}/b"],
        [],
    ]

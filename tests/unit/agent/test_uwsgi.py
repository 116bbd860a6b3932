from __future__ import annotations

from pathlib import Path

import pytest

from deployer.agent import uwsgi

API = """
; of the package
[other]
pyargv = --config-file /wrong
[uwsgi]
# pyargv = --config-file /wrong
uid = nova
set-ph = etc=/etc/nova
pyargv =  --config-file %(etc)/nova.conf\t--config-dir=$(WHERE)/d
env = OS_DEFAULT__TRANSPORT_URL=rabbit://h
env = A=b=c
virtualenv = /openstack/venvs/%(uid)
chdir = /var/lib/nova
"""


def words(*command: str, at: str = "/", **environ: str) -> list[str]:
    return uwsgi.options(["/usr/bin/uwsgi_python311", *command], at, environ).words[1:]


@pytest.fixture
def api(tmp_path: Path) -> Path:
    path = tmp_path / "api.ini"
    path.write_text(API)
    return path


def test_an_ini_files_section_tells_the_programs_words_variables_and_place(api: Path) -> None:
    told = uwsgi.options(["uwsgi", "--http-socket", ":8774", "--ini", str(api)], "/", {"WHERE": "/w"})
    assert told.words == ["uwsgi", "--config-file", "/etc/nova/nova.conf", "--config-dir=/w/d"]
    assert told.environ == {"OS_DEFAULT__TRANSPORT_URL": "rabbit://h", "A": "b=c"}
    assert told.virtualenv == "/openstack/venvs/nova"
    assert told.directory == "/var/lib/nova"
    assert told.problem == ""


def test_no_variables_value_is_in_its_repr(api: Path) -> None:
    assert "rabbit" not in repr(uwsgi.options(["uwsgi", "--ini", str(api)], "/", {"WHERE": "/w"}))


def test_debians_command_line_wins_over_the_ini_file_before_it(api: Path) -> None:
    pyargv = "--config-file=/a --config-file=/b"
    assert words("--ini", str(api), "--pyargv", pyargv) == ["--config-file=/a", "--config-file=/b"]


@pytest.mark.parametrize("spelling", [["--ini", "api.ini"], ["--ini=api.ini"], ["api.ini"], ["--include", "api.ini"]])
def test_an_ini_file_is_named_in_any_spelling_from_uwsgis_own_directory(api: Path, spelling: list[str]) -> None:
    assert words(*spelling, at=str(api.parent), WHERE="/w")[-1] == "--config-dir=/w/d"


def test_another_section_is_read_where_it_is_asked_for(api: Path) -> None:
    assert words("--ini", f"{api}:other") == ["--config-file", "/wrong"]


def test_a_file_that_includes_another_has_it_in_that_place(api: Path, tmp_path: Path) -> None:
    (tmp_path / "b.ini").write_text(f"[uwsgi]\npyargv = --config-file /b\nini = {api}\nini = {tmp_path}/b.ini\n")
    assert words("--ini", f"{tmp_path}/b.ini", WHERE="/w")[-1] == "--config-dir=/w/d"


def test_words_that_systemctl_told_without_quotes_are_all_found() -> None:
    told = words("--pyargv", "--config-file", "/a", "--config-dir=/d", "--config-file", "/b", "--http-socket", ":1")
    assert told == ["--config-file", "/a", "--config-dir=/d", "--config-file", "/b"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["--ini", "/nowhere.ini"], r"/nowhere\.ini cannot be read"),
        (["--emperor", "/etc/uwsgi/vassals"], "--emperor"),
        (["--yaml", "/etc/nova/uwsgi.yaml"], "--yaml"),
        (["--pyargv", "--config-file $(NOWHERE)/x"], r"\$\(NOWHERE\) cannot be told"),
    ],
)
def test_what_cannot_be_understood_is_named(command: list[str], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        assert uwsgi.options(["uwsgi", *command], "/", {}).problem == ""


@pytest.mark.parametrize(
    "name", ["uwsgi", "/usr/bin/uwsgi-core", "/usr/bin/uwsgi_python3", "/openstack/venvs/u/bin/uwsgi"]
)
def test_uwsgi_is_known_by_all_its_names(name: str) -> None:
    assert uwsgi.is_uwsgi(name)
    assert not uwsgi.is_uwsgi("/usr/bin/nova-uwsgi/python3")

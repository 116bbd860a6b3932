"""The order of reading is held to oslo.config itself: what its ConfigOpts parses, and when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from deployer.agent import config_files
from deployer.agent.config_files import Program, reading_order

HOME, ETC, SHARE, SNAP, COMMON, WORK = "home", "etc", "share", "snap", "common", "cwd"
SEARCHED = [f"{HOME}/.nova", HOME, f"{ETC}/nova", ETC, f"{COMMON}/etc/nova", f"{SNAP}/etc/nova"]
DEFAULTS = [f"{at}/{name}.conf" for at in SEARCHED for name in ("nova", "nova-api")]
IN_DIRECTORIES = [
    f"{at}/{name}.conf.d/{file}"
    for at in (SEARCHED[0], SEARCHED[2], SEARCHED[5])
    for name in ("nova", "nova-api")
    for file in ("b.conf", "a.conf", "A.conf", ".hidden.conf", "not.ini")
]
NAMED = [f"{WORK}/x.conf", f"{HOME}/y.conf", f"{WORK}/d/10.conf", f"{WORK}/d/9.conf", f"{HOME}/e/z.conf"]
ARGUMENTS = [
    ["--config-file", "{root}/cwd/x.conf"],
    ["--config-file={root}/cwd/../home/y.conf"],
    ["--config-file", "x.conf"],
    ["--config-file=~/y.conf"],
    ["--config-fi", "{root}/cwd/x.conf"],
    ["--config-dir", "{root}/cwd/d"],
    ["--config-dir={root}/cwd/d"],
    ["--config-dir", "d"],
    ["--config-dir=~/e"],
    ["--config-d={root}/cwd/d"],
    ["--debug"],
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of its own, which oslo.config and the agent take for the one they are on."""
    real = cfg._get_config_dirs

    def within(project: str | None = None) -> list[str]:
        return [f"{tmp_path}{path}" if path.startswith("/etc") else path for path in real(project)]

    monkeypatch.setattr(cfg, "_get_config_dirs", within)
    monkeypatch.setattr(config_files, "ETC", f"{tmp_path}/{ETC}")
    monkeypatch.setattr(config_files, "SHARE", f"{tmp_path}/{SHARE}")
    for name, at in (("HOME", HOME), ("SNAP", SNAP), ("SNAP_COMMON", COMMON)):
        monkeypatch.setenv(name, f"{tmp_path}/{at}")
    for path in NAMED:
        put(tmp_path, path)
    monkeypatch.chdir(tmp_path / WORK)
    return tmp_path


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("[DEFAULT]\n")


def program(root: Path, name: str = "nova-api", **more: str) -> Program:
    environ = {"SNAP": f"{root}/{SNAP}", "SNAP_COMMON": f"{root}/{COMMON}"}
    return Program("nova", name, f"{root}/{HOME}", f"{root}/{WORK}", environ=environ, **more)


def parsed(words: Sequence[str], name: str | None = "nova-api") -> list[str]:
    """Return the files that oslo.config parses for this command line, in its order."""
    found: list[str] = []
    parse = cfg.ConfigParser._parse_file

    def noting(config_file: str, namespace: Any) -> None:
        found.append(cfg._fixpath(config_file))
        parse(config_file, namespace)

    conf = cfg.ConfigOpts()
    conf.register_cli_opt(cfg.BoolOpt("debug"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cfg.ConfigParser, "_parse_file", staticmethod(noting))
        conf(list(words), project="nova", prog=name)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.sets(st.sampled_from(DEFAULTS), max_size=5),
    inside=st.sets(st.sampled_from(IN_DIRECTORIES), max_size=8),
    arguments=st.lists(st.sampled_from(ARGUMENTS), max_size=4),
)
def test_files_are_told_in_the_order_in_which_oslo_config_parses_them(
    root: Path, files: set[str], inside: set[str], arguments: list[list[str]]
) -> None:
    for path in (*DEFAULTS, *IN_DIRECTORIES):
        (root / path).unlink(missing_ok=True)
    put(root, *files, *inside)
    words = [word.format(root=root) for argument in arguments for word in argument]
    assert reading_order(words, program(root)) == parsed(words)


@pytest.mark.parametrize(
    "snaps", [{}, {"SNAP": "/snap/nova/7"}, {"SNAP": "/snap/nova/7", "SNAP_COMMON": "/var/snap/nova"}]
)
def test_the_directories_searched_are_oslo_configs(monkeypatch: pytest.MonkeyPatch, snaps: dict[str, str]) -> None:
    monkeypatch.setenv("HOME", "/var/lib/nova")
    for name, value in snaps.items():
        monkeypatch.setenv(name, value)
    assert config_files.directories(Program("nova", home="/var/lib/nova", environ=snaps)) == cfg._get_config_dirs(
        "nova"
    )


def test_the_default_directory_is_read_before_named_files(root: Path) -> None:
    put(root, "etc/nova/nova.conf", "etc/nova/nova.conf.d/1.conf")
    words = ["--config-file", f"{root}/cwd/x.conf"]
    assert reading_order(words, program(root)) == [f"{root}/etc/nova/nova.conf.d/1.conf", f"{root}/cwd/x.conf"]


def test_a_named_directory_switches_the_default_ones_off_and_not_the_default_files(root: Path) -> None:
    put(root, "etc/nova/nova.conf", "etc/nova/nova.conf.d/1.conf")
    words = ["--config-dir", "~/e"]
    assert reading_order(words, program(root)) == [f"{root}/etc/nova/nova.conf", f"{root}/home/e/z.conf"]


def test_a_directory_that_is_gone_has_no_files_and_a_named_file_stays(root: Path) -> None:
    words = ["--config-dir", "/nowhere", "--config-file", "/nowhere/nova.conf", "--config-file"]
    assert reading_order(words, program(root)) == ["/nowhere/nova.conf"]


def test_a_program_of_its_projects_name_reads_its_file_twice_as_oslo_config_does(root: Path) -> None:
    put(root, "etc/nova/nova.conf")
    found = reading_order([], program(root, "nova"))
    assert found == parsed([], "nova")
    assert found == [f"{root}/etc/nova/nova.conf"] * 2


def test_what_rdo_ships_is_read_first(root: Path) -> None:
    put(root, "etc/nova/nova.conf", "share/nova/nova-dist.conf", "share/nova/nova-api-dist.conf")
    assert reading_order([], program(root)) == [
        f"{root}/share/nova/nova-dist.conf",
        f"{root}/share/nova/nova-api-dist.conf",
        f"{root}/etc/nova/nova.conf",
    ]
    assert reading_order(["--config-file=/x"], program(root)) == ["/x"]


def test_another_users_home_is_that_users(root: Path) -> None:
    put(root, "etc/nova/nova.conf")
    words = ["--config-file", "~root/nova.conf", "--config-file", "~nobody-here/nova.conf"]
    expected = [str(Path("~root/nova.conf").expanduser()), f"{root}/cwd/~nobody-here/nova.conf"]
    assert reading_order(words, program(root)) == expected


def at(project: str, name: str, server: str = "", words: Sequence[str] = (), **environ: str) -> list[str]:
    return reading_order(words, Program(project, name, server=server, environ=environ))


def test_behind_a_wsgi_server_the_program_has_that_servers_name(root: Path) -> None:
    put(root, *(f"etc/{project}/{project}.conf" for project in ("cinder", "heat")))
    put(root, "etc/cinder/cinder-api.conf", "etc/uwsgi.conf", "etc/heat/heat-api.conf")
    etc = root / "etc"
    assert at("cinder", "cinder-api") == [f"{etc}/cinder/cinder.conf", f"{etc}/cinder/cinder-api.conf"]
    assert at("cinder", "cinder-api", "uwsgi") == [f"{etc}/cinder/cinder.conf", f"{etc}/uwsgi.conf"]
    assert at("cinder", "cinder-api", "mod_wsgi") == [f"{etc}/cinder/cinder.conf"]
    assert at("heat", "heat-api", "uwsgi") == [f"{etc}/heat/heat.conf", f"{etc}/heat/heat-api.conf"]


NOVA = ["/etc/nova/api-paste.ini", "/etc/nova/nova.conf"]


@pytest.mark.parametrize(
    ("project", "name", "environ", "expected"),
    [
        ("nova", "nova-api", {}, NOVA),
        ("nova", "nova-api", {"OS_NOVA_CONFIG_DIR": "/n"}, ["/n/api-paste.ini", "/n/nova.conf"]),
        ("nova", "nova-api", {"OS_NOVA_CONFIG_FILES": "nova.conf;/x/y.conf"}, ["/etc/nova/nova.conf", "/x/y.conf"]),
        ("keystone", "keystone", {"OS_KEYSTONE_CONFIG_DIR": "/k"}, ["/k/keystone.conf"]),
        ("keystone", "keystone", {"OS_KEYSTONE_CONFIG_FILES": "/k/a;/k/b"}, ["/k/a", "/k/b"]),
        ("placement", "placement-api", {"OS_PLACEMENT_CONFIG_DIR": "/p"}, ["/p/placement.conf"]),
        ("glance", "glance-api", {}, ["/etc/glance/glance-api-paste.ini", "/etc/glance/glance-api.conf"]),
        ("designate", "designate-api", {}, ["/etc/designate/api-paste.ini", "/etc/designate/designate.conf"]),
        ("masakari", "masakari-api", {}, ["/etc/masakari/api-paste.ini", "/etc/masakari/masakari.conf"]),
    ],
)
def test_entry_points_that_bring_files_of_their_own_are_known(
    root: Path, project: str, name: str, environ: dict[str, str], expected: list[str]
) -> None:
    assert at(project, name, "uwsgi", **environ) == expected
    assert at(project, name, "mod_wsgi", **environ) == expected


def test_the_variables_of_an_entry_point_are_read_behind_a_wsgi_server_only(root: Path) -> None:
    put(root, "etc/nova/nova.conf")
    assert at("nova", "nova-conductor", OS_NOVA_CONFIG_DIR="/n") == [f"{root}/etc/nova/nova.conf"]


def test_keystone_searches_where_no_variable_names_a_file(root: Path) -> None:
    put(root, "etc/keystone/keystone.conf")
    assert at("keystone", "keystone", "mod_wsgi") == [f"{root}/etc/keystone/keystone.conf"]


def test_glance_reads_its_import_options_where_they_are(root: Path) -> None:
    put(root, "g/glance-image-import.conf")
    found = at("glance", "glance-api", "uwsgi", OS_GLANCE_CONFIG_DIR=f"{root}/g")
    assert found == [f"{root}/g/glance-{name}" for name in ("api-paste.ini", "image-import.conf", "api.conf")]


def test_an_entry_point_that_takes_no_words_ignores_them(root: Path) -> None:
    assert at("nova", "nova-api", "uwsgi", ["--config-file=/x"]) == ["/x"]
    assert at("masakari", "masakari-api", "uwsgi", ["--config-file=/x"])[-1] == "/etc/masakari/masakari.conf"


def test_neutrons_servers_have_two_files_under_any_server_and_its_agents_search(root: Path) -> None:
    put(root, "etc/neutron/neutron.conf")
    own = ["/etc/neutron/neutron.conf", "/etc/neutron/plugins/ml2/ml2_conf.ini"]
    assert at("neutron", "neutron-server") == own
    assert at("neutron", "neutron-api", "uwsgi") == own
    assert at("neutron", "neutron-api", "uwsgi", OS_NEUTRON_CONFIG_FILES="a; b") == ["/etc/neutron/a", "/etc/neutron/b"]
    assert at("neutron", "neutron-dhcp-agent") == [f"{root}/etc/neutron/neutron.conf"]


def test_debians_two_neutron_servers_read_the_same_files_in_different_orders(root: Path) -> None:
    put(root, "n/server.conf.d/a.conf")
    files = ["--config-file=/n/neutron.conf", f"--config-dir={root}/n/server.conf.d", "--config-file=/n/ml2.ini"]
    directory = f"{root}/n/server.conf.d/a.conf"
    assert at("neutron", "neutron-rpc-server", "", files) == ["/n/neutron.conf", directory, "/n/ml2.ini"]
    api = [files[1], files[0], files[2]]
    assert at("neutron", "neutron-api", "uwsgi", api) == [directory, "/n/neutron.conf", "/n/ml2.ini"]

"""What a user installs is the wheel, not the clone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("deployer", "tasks", "templates")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built by the project's own build backend."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [path] = out.iterdir()
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def away(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Run Python away from the clone with nothing of it but the wheel's content; returns what it printed."""
    installed = tmp_path_factory.mktemp("installed")
    wheel.extractall(installed)

    def run(code: str) -> str:
        program = f"import sys; sys.path.insert(0, {str(installed)!r})\n{code}"
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def metadata(wheel: zipfile.ZipFile, file: str) -> str:
    [name] = [name for name in wheel.namelist() if name.endswith(f".dist-info/{file}")]
    return wheel.read(name).decode()


def test_it_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert not [name for name in wheel.namelist() if "/test" in name or name.endswith(".pyc")]


def test_no_file_of_the_packages_is_left_out(wheel: zipfile.ZipFile) -> None:
    files = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"deployer/model/projects/nova.yaml", "templates/rabbitmq.conf.j2", "deployer/agent/main.py"} <= files
    assert files <= set(wheel.namelist())


def test_the_program_and_the_plugins_are_entry_points(wheel: zipfile.ZipFile) -> None:
    lines = metadata(wheel, "entry_points.txt").split()
    for section, name in (
        ("[console_scripts]", "hybridmsg"),
        ("[nornir.plugins.connections]", "hybridmsg_ssh"),
        ("[nornir.plugins.runners]", "hybridmsg_threads"),
    ):
        assert lines[lines.index(section) + 1] == name


def test_what_only_tests_need_is_not_required(wheel: zipfile.ZipFile) -> None:
    found = Parser().parsestr(metadata(wheel, "METADATA"))
    required = [line for line in found.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert any(line.startswith("paramiko") for line in required)
    assert not [line for line in required if "oslo" in line or "pytest" in line]
    assert (found["Requires-Python"], found["License-Expression"]) == (">=3.10", "Apache-2.0")
    assert metadata(wheel, "licenses/LICENSE").lstrip().startswith("Apache License")


def test_the_program_runs_away_from_the_clone(away: Callable[[str], str]) -> None:
    shown = away(
        "from importlib.metadata import entry_points\n"
        "[program] = entry_points(group='console_scripts', name='hybridmsg')\n"
        "sys.argv = ['hybridmsg', '--help']\nprogram.load()()"
    )
    assert shown.startswith("Usage: hybridmsg")


def test_nornir_finds_the_plugins_away_from_the_clone(away: Callable[[str], str]) -> None:
    shown = away(
        "from nornir.core.plugins.runners import RunnersPluginRegister as runners\n"
        "from nornir.core.plugins.connections import ConnectionPluginRegister as connections\n"
        "runners.auto_register(); connections.auto_register()\n"
        "print(runners.get_plugin('hybridmsg_threads').__name__, connections.get_plugin('hybridmsg_ssh').__name__)"
    )
    assert shown.split() == ["DeadlineRunner", "HostConnection"]


def test_catalogue_templates_and_agent_are_found_away_from_the_clone(away: Callable[[str], str]) -> None:
    shown = away(
        "from deployer.model.catalogue import load_catalogue\n"
        "from deployer.nornir_plugins.bundle import agent_bundle\n"
        "from deployer.plan.render import render\nimport io, zipfile, tasks.files\n"
        "print('neutron' in load_catalogue(), len(render('qdrouterd-sasl.conf.j2', database='x')) > 0)\n"
        "agent = zipfile.ZipFile(io.BytesIO(agent_bundle())).namelist()\n"
        "print('deployer/agent/main.py' in agent, tasks.files.__file__)"
    )
    assert shown.split()[:3] == ["True", "True", "True"]
    assert str(ROOT) not in shown

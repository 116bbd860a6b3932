from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deployer.agent import libraries
from deployer.agent.types import Json
from tests.unit.agent.client import Client
from tests.unit.agent.conftest import Programs


class Venv:
    """A virtual environment without pip, and what is put into it by hand."""

    def __init__(self, path: Path) -> None:
        self.python = str(path / "bin" / "python3")
        self._site = path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        self._site.mkdir(parents=True)
        (path / "bin").mkdir()
        real = Path(os.path.realpath(sys.executable))
        Path(self.python).symlink_to(real)
        (path / "pyvenv.cfg").write_text(f"home = {real.parent}\n")

    def put(self, path: str, text: str = "raise AssertionError('imported')\n") -> None:
        file = self._site / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def put_oslo_messaging(self, version: str, *, driver: bool) -> None:
        self.put("oslo_messaging/__init__.py")
        self.put("oslo_messaging/_drivers/__init__.py")
        if driver:
            self.put("oslo_messaging/_drivers/impl_amqp1.py")
        self.put(f"oslo.messaging-{version}.dist-info/METADATA", f"Name: oslo.messaging\nVersion: {version}\n")

    @property
    def unit(self) -> Json:
        return {"interpreter": self.python, "user": ""}


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


def told(venv: Venv) -> Json:
    answer: Json = libraries.of_units([venv.unit])[venv.python]
    return answer


def test_an_interpreter_that_has_all_of_it_is_told_so_and_nothing_is_imported(venv: Venv) -> None:
    venv.put_oslo_messaging("14.0.3", driver=True)
    venv.put("pyngus/__init__.py")
    venv.put("proton/__init__.py")
    assert told(venv) == {"oslo.messaging": "14.0.3", "amqp": True, "pyngus": True, "proton": True}


def test_an_oslo_messaging_without_the_driver_is_told_so(venv: Venv) -> None:
    venv.put_oslo_messaging("15.0.0", driver=False)
    assert told(venv) == {"oslo.messaging": "15.0.0", "amqp": False, "pyngus": False, "proton": False}


def test_a_bare_interpreter_has_none_of_it(venv: Venv) -> None:
    assert told(venv) == {"oslo.messaging": None, "amqp": False, "pyngus": False, "proton": False}


def test_an_interpreter_that_cannot_answer_has_none_of_it(tmp_path: Path) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/no/such/interpreter")
    broken.chmod(0o755)
    answer = libraries.of_units([{"interpreter": str(broken), "user": ""}])
    assert answer == {str(broken): {"oslo.messaging": None, "amqp": False, "pyngus": False, "proton": False}}


def test_each_interpreter_is_asked_once(venv: Venv, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\necho asked >> {tmp_path}/asked\nexec {venv.python} "$@"\n')
    python.chmod(0o755)
    stopped = {"interpreter": None, "user": ""}
    libraries.of_units([{"interpreter": str(python), "user": ""}, stopped, {"interpreter": str(python), "user": ""}])
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize("asked", [False, True])
def test_libraries_are_in_the_units_facts_only_when_asked_for(agent: Client, programs: Programs, asked: object) -> None:
    own = f"Id=a.service\nLoadState=loaded\nActiveState=active\nMainPID={os.getpid()}"
    other = "Id=b.service\nLoadState=loaded\nActiveState=inactive\nMainPID=0"
    programs.add("systemctl", f"print({own + chr(10) * 2 + other!r})")
    units = agent.ask("facts", units=["a.service", "b.service"], libraries=asked)["units"]
    assert (units["a.service"]["libraries"] is not None) is asked
    assert units["b.service"]["libraries"] is None

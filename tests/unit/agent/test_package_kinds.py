from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from deployer.agent.errors import RefusedError, StepError
from deployer.agent.kinds import prepare
from deployer.agent.steps import parse
from deployer.agent.types import StepOutcome
from tests.unit.agent.client import step
from tests.unit.agent.conftest import Programs, Run

CONTENT = b"!<arch>\n\xff"
FILE = "qdrouterd_1.19.0-1_amd64.deb"
# The package manager looks at the file it was given, or is not given any.
INSTALL = """
import pathlib
here = pathlib.Path(__file__).parent
path = pathlib.Path(argv[-1])
if path.is_absolute():
    (here / "seen").write_bytes(path.read_bytes())
    (here / "mode").write_text(oct(path.stat().st_mode))
if "install" in argv: (here / "installed").touch()
"""
QUERY = """
import pathlib
if not (pathlib.Path(__file__).parent / "installed").exists(): sys.exit(1)
print({line!r})
"""
# An interpreter of a venv: pip installs what it is asked for, and answers what is there.
INTERPRETER = """
import pathlib
at = pathlib.Path(__file__).parent / "site"
there = at.read_text().split() if at.exists() else []
if "pip" in argv: at.write_text(" ".join(there + argv[argv.index("install") + 1:]))
else: print(json.dumps({name: "1.0" if name in there else None for name in argv[3:]}))
"""


def act(kind: str, **args: Any) -> StepOutcome:
    return prepare(parse(step(kind, **args))).act()


@pytest.fixture
def host(programs: Programs, state: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A host with both managers, on which qdrouterd appears once something was installed."""
    monkeypatch.setenv("HYBRIDMSG_STATE", str(state))
    programs.add("apt-get", INSTALL)
    programs.add("dnf", INSTALL)
    programs.add("dpkg-query", QUERY.format(line="qdrouterd\tii \t1.19.0-1"))
    programs.add("rpm", QUERY.format(line="qdrouterd\t1.19.0-1"))
    return programs


def upload(manager: str = "apt", filename: str = FILE, name: str = "qdrouterd") -> StepOutcome:
    encoded = base64.b64encode(CONTENT).decode()
    return act("package.upload", filename=filename, content_b64=encoded, manager=manager, name=name)


@pytest.mark.parametrize(("manager", "program", "suffix"), [("apt", "apt-get", ".deb"), ("dnf", "dnf", ".rpm")])
def test_an_uploaded_package_is_installed_from_a_private_file_that_goes_again(
    host: Programs, state: Path, manager: str, program: str, suffix: str
) -> None:
    outcome = upload(manager, f"qdrouterd{suffix}")
    assert (outcome.changed, outcome.after) == (True, {"versions": {"qdrouterd": "1.19.0-1"}})
    assert host.argvs(program)[-1][-1] == str(state / "upload" / f"qdrouterd{suffix}")
    assert (host.directory / "seen").read_bytes() == CONTENT
    assert stat.S_IMODE(int((host.directory / "mode").read_text(), 8)) == 0o600
    assert list((state / "upload").iterdir()) == []


def test_a_package_that_is_there_is_not_uploaded_again(host: Programs, state: Path) -> None:
    (host.directory / "installed").touch()
    assert not upload().changed
    assert host.argvs("apt-get") == []
    assert not (state / "upload").exists()


def test_a_file_that_cannot_be_installed_goes_too(host: Programs, state: Path) -> None:
    words = "The following packages have unmet dependencies:\n qdrouterd : Depends: libqpid-proton13"
    host.add("apt-get", f'print({words!r}); sys.exit(argv[0] == "install")')
    with pytest.raises(
        StepError, match=r"_amd64\.deb failed: something that the package needs cannot be had"
    ) as caught:
        upload()
    assert caught.value.frame()["output"].endswith("libqpid-proton13")
    assert list((state / "upload").iterdir()) == []


def test_a_file_of_another_package_is_named(host: Programs) -> None:
    with pytest.raises(StepError, match="does not hold the package qpid-proton"):
        upload(name="qpid-proton")


@pytest.mark.parametrize("filename", ["../x.deb", "/etc/x.deb", "-x.deb", "x.tar.gz", ""])
def test_what_is_no_package_files_name_is_refused(host: Programs, filename: str) -> None:
    with pytest.raises(RefusedError, match="not a package file's name"):
        upload(filename=filename)


@pytest.mark.parametrize(("manager", "program", "options"), [("apt", "dpkg", ["--remove"]), ("dnf", "rpm", ["-e"])])
def test_only_the_named_packages_that_are_there_are_removed(
    host: Programs, manager: str, program: str, options: list[str]
) -> None:
    (host.directory / "installed").touch()
    host.add("dpkg")
    outcome = act("package.remove", names=["qdrouterd", "qdrouterd-tools"], manager=manager)
    assert outcome.changed
    assert [argv for argv in host.argvs(program) if argv[0] == options[0]] == [[*options, "qdrouterd"]]


def test_what_is_not_there_is_not_removed(host: Programs) -> None:
    host.add("dpkg")
    assert not act("package.remove", names=["qdrouterd"], manager="apt").changed
    assert host.argvs("dpkg") == []


def test_a_package_that_others_need_is_not_removed(host: Programs) -> None:
    (host.directory / "installed").touch()
    host.add("dpkg", 'print("dpkg: dependency problems prevent removal of qdrouterd:"); sys.exit(1)')
    with pytest.raises(StepError, match="removing qdrouterd failed: other packages need it"):
        act("package.remove", names=["qdrouterd"], manager="apt")


def test_a_removed_package_is_not_put_back_by_an_undo(host: Programs, run: Run) -> None:
    (host.directory / "installed").touch()
    host.add("dpkg")
    run.apply(step("package.remove", names=["qdrouterd"], manager="apt"))
    assert run.undo()[0]["output"] == "package.remove is kept"


@pytest.fixture
def interpreter(programs: Programs) -> str:
    programs.add("python3", INTERPRETER)
    return str(programs.directory / "python3")


def test_pip_of_the_interpreter_installs_what_is_missing(programs: Programs, interpreter: str) -> None:
    (programs.directory / "site").write_text("pyngus")
    names = ["pyngus", "python-qpid-proton"]
    outcome = act("python.install", interpreter=interpreter, names=names)
    assert (outcome.changed, outcome.after) == (True, {"versions": dict.fromkeys(names, "1.0")})
    (call,) = [argv for argv in programs.argvs("python3") if "pip" in argv]
    assert call == ["-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "python-qpid-proton"]


def test_an_interpreter_that_has_them_is_left_alone(programs: Programs, interpreter: str) -> None:
    (programs.directory / "site").write_text("pyngus")
    assert not act("python.install", interpreter=interpreter, names=["pyngus"]).changed
    assert not [argv for argv in programs.argvs("python3") if "pip" in argv]


def test_pips_own_words_come_with_its_failure(programs: Programs, interpreter: str) -> None:
    programs.add("python3", f"if 'pip' in argv: sys.exit('No index')\n{INTERPRETER}")
    with pytest.raises(StepError, match="cannot install pyngus") as caught:
        act("python.install", interpreter=interpreter, names=["pyngus"])
    assert caught.value.frame()["output"] == "No index"


@pytest.mark.parametrize("name", ["--index-url=http://evil", "a b", ""])
def test_a_name_that_pip_would_read_as_something_else_is_refused(interpreter: str, name: str) -> None:
    with pytest.raises(RefusedError, match="not a Python package's name"):
        act("python.install", interpreter=interpreter, names=[name])


def test_what_is_no_interpreter_is_refused() -> None:
    with pytest.raises(RefusedError, match="not an interpreter"):
        act("python.install", interpreter="/no/such/python3", names=["pyngus"])

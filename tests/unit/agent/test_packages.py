from __future__ import annotations

import pytest

from deployer.agent import packages
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.kinds import prepare
from deployer.agent.steps import parse
from deployer.agent.types import StepOutcome
from tests.unit.agent.client import step
from tests.unit.agent.conftest import Programs

# Words of apt 2.6 (Debian 12) and dnf 4.14 (CentOS Stream 9).
APT_UNREACHABLE = "W: Failed to fetch http://repo.example/InRelease  Could not resolve 'repo.example'"
APT_NO_PACKAGE = "E: Unable to locate package qdrouterd"
APT_LOCKED = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)"
APT_INTERRUPTED = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem."
APT_FULL = "E: You don't have enough free space in /var/cache/apt/archives/."
DNF_UNREACHABLE = "Error: Failed to download metadata for repo 'baseos': Cannot prepare internal mirrorlist: Curl error"
DNF_NO_PACKAGE = "No match for argument: qdrouterd\nError: Unable to find a match: qdrouterd"


def install(manager: str, *names: str) -> StepOutcome:
    return prepare(parse(step("package.install", names=list(names), manager=manager))).act()


def debian(programs: Programs, apt_get: str = "", *, installed: bool = False) -> None:
    """A host on which rabbitmq-server appears once apt-get install was called."""
    programs.add("apt-get", f"if argv[0] == 'install': open({str(programs.directory / 'done')!r}, 'w')\n{apt_get}")
    programs.add(
        "dpkg-query",
        f"""
there = {installed} or os.path.exists({str(programs.directory / "done")!r})
if there: print("rabbitmq-server\\tii \\t3.10.8-1")
else: sys.exit(1)
""",
    )


def test_installed_versions_are_read_in_one_call(programs: Programs) -> None:
    programs.add("dpkg-query", r'print("a\tii \t1:2.0\nb\trc \t1.0\nc\thi \t3.0"); sys.exit(1)')
    assert packages.versions(["a", "b", "c", "d"], "apt") == {"a": "1:2.0", "b": None, "c": "3.0", "d": None}
    assert len(programs.calls) == 1


def test_rpm_versions_are_read_in_one_call(programs: Programs) -> None:
    programs.add("rpm", r'print("a\t1:2.0-1.el9\npackage b is not installed"); sys.exit(1)')
    assert packages.versions(["a", "b"], "dnf") == {"a": "1:2.0-1.el9", "b": None}
    assert len(programs.calls) == 1


def test_apt_asks_nothing_keeps_configuration_and_restarts_no_other_service(programs: Programs) -> None:
    debian(programs)
    outcome = install("apt", "rabbitmq-server")
    assert outcome.changed
    assert outcome.after == {"versions": {"rabbitmq-server": "3.10.8-1"}}
    update, call = (call for call in programs.calls if call["name"] == "apt-get")
    assert update["argv"] == ["update"]
    assert call["argv"] == [
        "install",
        "-y",
        "--no-install-recommends",
        "-o",
        "Dpkg::Options::=--force-confold",
        "-o",
        "DPkg::Lock::Timeout=120",
        "rabbitmq-server",
    ]
    wanted = {
        "DEBIAN_FRONTEND": "noninteractive",
        "NEEDRESTART_SUSPEND": "1",
        "NEEDRESTART_MODE": "l",
        "APT_LISTCHANGES_FRONTEND": "none",
        "UCF_FORCE_CONFFOLD": "1",
    }
    assert wanted.items() <= call["env"].items()
    assert call["stdin"] == ""


@pytest.mark.parametrize("manager", ["apt", "dnf"])
def test_what_is_installed_is_left_alone(programs: Programs, manager: str) -> None:
    debian(programs, installed=True)
    programs.add("rpm", r'print("rabbitmq-server\t3.10.8-1")')
    programs.add("dnf")
    assert not install(manager, "rabbitmq-server").changed
    assert programs.argvs("apt-get") == programs.argvs("dnf") == []


def test_only_what_is_missing_is_installed(programs: Programs) -> None:
    programs.add("apt-get")
    programs.add("dpkg-query", r'print("a\tii \t1.0")')
    install("apt", "a", "b")
    assert programs.argvs("apt-get")[1][-2:] == ["DPkg::Lock::Timeout=120", "b"]


def test_a_dead_mirror_of_other_packages_stops_nothing(programs: Programs) -> None:
    debian(programs, f'if argv[0] == "update": print({APT_UNREACHABLE!r}, file=sys.stderr); sys.exit(100)')
    assert install("apt", "rabbitmq-server").changed


def test_dnf_installs_without_weak_dependencies(programs: Programs) -> None:
    programs.add("rpm", "sys.exit(1)")
    programs.add("dnf")
    assert install("dnf", "rabbitmq-server").changed
    assert programs.argvs("dnf") == [["-y", "install", "--setopt=install_weak_deps=False", "rabbitmq-server"]]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (APT_UNREACHABLE, "repository cannot be reached"),
        (f"{APT_UNREACHABLE}\n{APT_NO_PACKAGE}", "repository cannot be reached"),
        (APT_NO_PACKAGE, "no repository of the host has the package"),
        (APT_LOCKED, "another package manager is at work"),
        (APT_INTERRUPTED, "an earlier installation was interrupted"),
        (APT_FULL, "the disk is full"),
        ("E: something new", "installing rabbitmq-server failed"),
    ],
)
def test_apts_failure_is_named_with_a_remedy_and_its_own_words(programs: Programs, words: str, reason: str) -> None:
    debian(programs, f'if argv[0] == "install": print({words!r}, file=sys.stderr); sys.exit(100)')
    programs.add("dpkg-query", "sys.exit(1)")
    with pytest.raises(StepError, match=reason) as caught:
        install("apt", "rabbitmq-server")
    assert caught.value.remedy
    assert caught.value.frame()["output"].endswith(words)


def test_an_unreachable_repository_told_by_the_update_alone_is_named(programs: Programs) -> None:
    words = f'{{"update": {APT_UNREACHABLE!r}, "install": {APT_NO_PACKAGE!r}}}[argv[0]]'
    programs.add("apt-get", f'print({words}, file=sys.stderr); sys.exit(100 if argv[0] == "install" else 0)')
    programs.add("dpkg-query", "sys.exit(1)")
    with pytest.raises(StepError, match="repository cannot be reached"):
        install("apt", "qdrouterd")


@pytest.mark.parametrize(
    ("words", "reason"),
    [(DNF_UNREACHABLE, "repository cannot be reached"), (DNF_NO_PACKAGE, "no repository of the host")],
)
def test_dnfs_failure_is_named(programs: Programs, words: str, reason: str) -> None:
    programs.add("rpm", "sys.exit(1)")
    programs.add("dnf", f"print({words!r}, file=sys.stderr); sys.exit(1)")
    with pytest.raises(StepError, match=reason):
        install("dnf", "qdrouterd")


def test_a_hanging_installation_is_ended(programs: Programs) -> None:
    programs.add("dpkg-query", "sys.exit(1)")
    programs.add("apt-get", 'if argv[0] == "install":\n    import time; time.sleep(60)')
    with pytest.raises(StepError, match="deadline"):
        packages.install(["rabbitmq-server"], "apt", 1.0)


@pytest.mark.parametrize("name", ["-oDir=/tmp", "rabbitmq-server-", "", "a b"])
def test_a_name_that_apt_would_read_as_something_else_is_refused(programs: Programs, name: str) -> None:
    debian(programs)
    with pytest.raises(RefusedError, match="not a package's name"):
        install("apt", name)
    assert programs.calls == []


def test_a_host_without_a_known_manager_is_refused(programs: Programs) -> None:
    with pytest.raises(RefusedError, match="unknown package manager 'zypper'"):
        packages.install(["rabbitmq-server"], "zypper")

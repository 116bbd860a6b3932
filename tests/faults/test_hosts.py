"""Hosts that are rebooted in the middle, left alone, changed under a run, or odd from the start."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Known
from tests.faults.controller import AGENT, HELD, Point
from tests.faults.inject import DIRECTORY
from tests.faults.site import CONFIG, LIGHT, Site
from tests.lab.cloud import wait_until

pytestmark = pytest.mark.timeout(420)
UNREACHABLE = 4
ODD = "umask 077\nexport LC_ALL=tr_TR.UTF-8 LANG=xx_XX TZ=Asia/Kathmandu PYTHONPATH=/nowhere PYTHONHOME=/nowhere\n"
_HOLD = """
import fcntl, sys
files = [open(f"/var/lib/dpkg/{name}", "w") for name in ("lock-frontend", "lock")]
for file in files:
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
NOISE = "echo noise on stdout; echo more on stderr >&2; printf 'without an end'\n"


@contextmanager
def changed(site: Site, host: str, act: str, back: str) -> Iterator[None]:
    """Something of a host changed, and as it was at the end of the block."""
    site.lab.run(host, act, timeout=120)
    try:
        yield
    finally:
        site.lab.run(host, back, timeout=120)


@contextmanager
def dpkg_locked(site: Site, host: str) -> Iterator[None]:
    """A host on which somebody else installs packages."""
    argv = ["python3", "-c", _HOLD]
    with site.lab.popen(host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


def test_host_rebooted_between_steps(on_rabbit: Site, phase: Point, beginning: dict[str, str]) -> None:
    with on_rabbit.paused(phase, "migrate") as running:
        on_rabbit.lab.power_off(phase.host)
        on_rabbit.lab.boot(phase.host)
        ended = on_rabbit.end(running)
    assert ended.code != 0
    on_rabbit.await_agents()
    assert on_rabbit.lab.run(phase.host, "systemctl is-active relay-conductor").stdout == "active\n"
    on_rabbit.heals_and_returns(beginning)


def test_host_rebooted_in_a_rollback(on_router: Site, known: Known) -> None:
    point = next(one for one in known.rollback if one.host == LIGHT[-1] and one.kind == "file.write")
    with on_router.paused(point, "rollback") as running:
        on_router.lab.power_off(point.host)
        on_router.lab.boot(point.host)
        ended = on_router.end(running)
    assert ended.code != 0
    on_router.done("reconcile", code=HELD)
    assert on_router.fingerprint() == known.beginning
    assert on_router.answers()


def test_hosts_that_nobody_comes_back_to_go_back_by_themselves(on_rabbit: Site, known: Known) -> None:
    start = known.phase("unit.start")
    on_rabbit.edit("defaults", "confirm: 90", "confirm: 10")
    try:
        on_rabbit.controller_killed(start, "migrate")
        wait_until(on_rabbit.settled, 90, "every host went back")
        assert on_rabbit.fingerprint() == known.beginning
        assert on_rabbit.answers()
    finally:
        on_rabbit.edit("defaults", "confirm: 10", "confirm: 90")
    on_rabbit.heals_and_returns(known.beginning)


def test_host_that_boots_while_its_controller_is_dead_goes_back_before_its_services_start(
    on_rabbit: Site, known: Known
) -> None:
    start = known.phase("unit.start")
    on_rabbit.controller_killed(start, "migrate")
    on_rabbit.lab.power_off(start.host)
    on_rabbit.lab.boot(start.host)
    wait_until(lambda: not on_rabbit.there(start.host, f"{AGENT}/pending.json"), 60, "the host went back")
    assert on_rabbit.fingerprint()[start.host] == known.beginning[start.host]
    on_rabbit.heals_and_returns(known.beginning)


@pytest.mark.ci
def test_swapped_host_key(on_rabbit: Site, known: Known) -> None:
    key, host = "/etc/ssh/ssh_host_ed25519_key", LIGHT[-1]
    swap = f"cp -a {key} /root/key; rm {key}*; ssh-keygen -q -t ed25519 -N '' -f {key}; systemctl restart ssh"
    back = f"mv /root/key {key}; ssh-keygen -y -f {key} >{key}.pub; systemctl restart ssh"
    with changed(on_rabbit, host, swap, back):
        began = on_rabbit.lab.run(host, "date +%s").stdout.strip()
        ended = on_rabbit.run("migrate")
        assert ended.code == UNREACHABLE
        assert "host key has changed" in ended.err
        logins = on_rabbit.lab.run(host, f"journalctl -q -u ssh --since @{began} | grep -c Accepted || true").stdout
        assert logins.strip() == "0"
    assert on_rabbit.fingerprint() == known.beginning
    on_rabbit.done("plan", code=2)


def test_host_without_python3(on_rabbit: Site, known: Known) -> None:
    host = LIGHT[-1]
    python, away = "/usr/bin/python3", "/usr/bin/python3.away"
    act, back = f"mv {python} {away}; mv {DIRECTORY} /root/faults", f"mv {away} {python}; mv /root/faults {DIRECTORY}"
    with changed(on_rabbit, host, act, back):
        ended = on_rabbit.run("migrate")
    assert (ended.code, "python3" in ended.err) == (UNREACHABLE, True)
    assert on_rabbit.fingerprint() == known.beginning


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash"])
def test_odd_login(on_rabbit: Site, shell: str, beginning: dict[str, str]) -> None:
    """Umask 077, a noisy .bashrc (dash reads none), odd locale and variables, and another shell."""
    home, host = "/home/deploy", LIGHT[-1]
    act = f"chsh -s {shell} deploy; cp -a {home}/.bashrc /root/.bashrc.kept; cat /root/odd >{home}/.bashrc"
    on_rabbit.lab.write(host, "/root/odd", (NOISE + ODD).encode())
    on_rabbit.lab.write(host, f"{home}/.ssh/environment", ODD.partition("export ")[2].replace(" ", "\n").encode())
    back = f"chsh -s /bin/sh deploy; mv /root/.bashrc.kept {home}/.bashrc; rm {home}/.ssh/environment"
    with changed(on_rabbit, host, act, back):
        on_rabbit.done("migrate")
        assert on_rabbit.is_new()
        on_rabbit.done("rollback")
    assert on_rabbit.fingerprint() == beginning


def test_dpkg_lock_held(on_rabbit: Site, beginning: dict[str, str]) -> None:
    host = LIGHT[-1]
    on_rabbit.lab.run(host, "dpkg --purge --force-depends python3-pyngus", timeout=120)
    on_rabbit.edit("defaults", "install: 300", "install: 15")
    try:
        with dpkg_locked(on_rabbit, host):
            ended = on_rabbit.run("migrate")
            assert (ended.code, "lock" in ended.err) == (3, True), ended.err
            assert on_rabbit.fingerprint() == beginning
    finally:
        on_rabbit.edit("defaults", "install: 15", "install: 300")
    on_rabbit.heals_and_returns(beginning)


def test_configuration_edited_between_plan_and_apply(on_rabbit: Site, beginning: dict[str, str]) -> None:
    host, file = LIGHT[-1], "/root/relay.plan"
    on_rabbit.done("plan", "-o", file, code=2)
    kept = on_rabbit.lab.read(host, CONFIG)
    on_rabbit.lab.run(host, f"echo '# an operator was here' >>{CONFIG}")
    try:
        ended = on_rabbit.run("migrate", file)
        assert (ended.code, CONFIG in ended.err) == (6, True), ended.err
        assert on_rabbit.lab.read(host, CONFIG) == kept + b"# an operator was here\n"
    finally:
        on_rabbit.lab.write(host, CONFIG, kept, mode=0o640)
    assert on_rabbit.fingerprint() == beginning
    on_rabbit.done("migrate", file)
    assert on_rabbit.is_new()
    on_rabbit.done("rollback")
    assert on_rabbit.fingerprint() == beginning

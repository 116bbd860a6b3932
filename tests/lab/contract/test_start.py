"""What a router does with its configuration, and with signals."""

from __future__ import annotations

import time

import pytest

from tests.lab.contract.client import Actor, Client
from tests.lab.contract.conftest import eventually
from tests.lab.contract.routers import LOG, Routers, Section, connector, listener, render, unit_of

ROUTER: Section = ("router", {"mode": "standalone", "id": "Foreground"})
INTERIOR: Section = ("router", {"mode": "interior", "id": "Foreground"})
PORT = 24000

REFUSED: dict[str, list[Section]] = {
    "an unknown section": [ROUTER, ("gateway", {"host": "127.0.0.1"})],
    "an unknown attribute": [ROUTER, listener(PORT, colour="red")],
    "a bad enum": [("router", {"mode": "interier", "id": "Foreground"}), listener(PORT)],
    "a bad distribution": [ROUTER, ("address", {"prefix": "x", "distribution": "everyone"})],
    "two routers": [ROUTER, ROUTER, listener(PORT)],
    "a number that is none": [ROUTER, listener(PORT, idleTimeoutSeconds="soon")],
    "a log without a module": [ROUTER, ("log", {"enable": "info+"})],
    "a router alone that is to connect to others": [ROUTER, connector("x", PORT)],
    "a password in quotation marks": [INTERIOR, connector("x", PORT, saslPassword='a"b')],
    "a password that begins with a brace": [INTERIOR, connector("x", PORT, saslPassword="{ab")],
}
TAKEN: dict[str, list[Section]] = {
    "an unknown sslProfile": [ROUTER, listener(PORT, sslProfile="none", requireSsl="yes")],
    "a missing certificate": [
        ROUTER,
        ("sslProfile", {"name": "tls", "certFile": "/none.pem", "privateKeyFile": "/none.key"}),
        listener(PORT, sslProfile="tls", requireSsl="yes"),
    ],
    "a connector to a host that does not exist": [
        INTERIOR,
        listener(PORT),
        connector("nowhere", 1, host="no-such-host.invalid"),
    ],
    "a password cut short by its #": [
        INTERIOR,
        listener(PORT),
        connector("x", PORT + 1, saslPassword="ab#{"),
    ],
}


def test_the_package_brings_unit_user_and_files(routers: Routers) -> None:
    script = """
        systemctl is-active qdrouterd; systemctl is-enabled qdrouterd; systemctl show -p User qdrouterd
        stat -c '%n %U %a' /var/lib/qdrouterd; ls /etc/qpid-dispatch/qdrouterd.conf /etc/sasl2/qdrouterd.conf
    """
    assert routers.lab.run(routers.host, script).stdout.split("\n") == [
        "active",
        "enabled",
        "User=qdrouterd",
        "/var/lib/qdrouterd qdrouterd 750",
        "/etc/qpid-dispatch/qdrouterd.conf",
        "/etc/sasl2/qdrouterd.conf",
        "",
    ]


@pytest.mark.parametrize("what", REFUSED)
def test_a_configuration_with_a_mistake_ends_it_at_once(ready: Routers, what: str) -> None:
    code, output = ready.foreground(render([*REFUSED[what], LOG]))
    assert code == 1, output
    assert output.strip() != ""


def test_a_section_that_is_not_closed_ends_it(ready: Routers) -> None:
    assert ready.foreground("router {\n    mode: standalone\n")[0] == 1


def test_a_port_in_use_ends_it(ready: Routers, single: object) -> None:
    assert ready.foreground(render([ROUTER, listener(21000)]))[0] == 1


@pytest.mark.parametrize("what", TAKEN)
def test_it_starts_with(ready: Routers, what: str) -> None:
    code, output = ready.foreground(render([*TAKEN[what], LOG]), seconds=0.8)
    assert code == 124, output


def test_sigterm_ends_it_within_a_second(ready: Routers) -> None:
    ready.start("mortal", [ROUTER, listener(24100)])
    began = time.monotonic()
    ready.stop("mortal")
    assert time.monotonic() - began < 1


def test_sighup_changes_nothing(ready: Routers, actor: Actor) -> None:
    router = ready.start("deaf", [ROUTER, listener(24200)])
    client = actor.connect(router.url)
    ready.lab.run(ready.host, ["systemctl", "kill", "-s", "HUP", unit_of("deaf")])
    assert client.rows("router", "id") == [{"id": "Foreground"}]
    client.close()
    ready.kill("deaf")


def test_after_a_sighup_it_does_not_hear_sigterm_either(ready: Routers) -> None:
    ready.start("stubborn", [ROUTER, listener(24400)])
    for signal in ("HUP", "TERM"):
        ready.lab.run(ready.host, ["systemctl", "kill", "-s", signal, unit_of("stubborn")])
    time.sleep(0.5)
    assert ready.lab.run(ready.host, ["systemctl", "is-active", unit_of("stubborn")]).stdout == "active\n"
    ready.kill("stubborn")


def _subscribed(watcher: Client, address: str) -> bool:
    return f"M0{address}" in {row["owningAddr"] for row in watcher.rows("router.link", "owningAddr")}


def test_a_killed_client_leaves_nothing_behind(ready: Routers, actor: Actor) -> None:
    router = ready.start("patient", [ROUTER, listener(24300)])
    watcher, victim = actor.connect(router.url), Actor(ready.lab, ready.host)
    victim.connect(router.url).subscribe("a.topic")
    assert eventually(_subscribed, watcher, "a.topic")
    victim.kill()
    assert eventually(lambda: not _subscribed(watcher, "a.topic"), seconds=3)
    watcher.close()
    ready.stop("patient")

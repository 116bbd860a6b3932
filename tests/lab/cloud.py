"""The lab's OpenStack cloud as tests look at it: what its files and units are, and what its services say."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.lab import Lab
from tests.lab.layout import SERVICES

INVENTORY = "/etc/hybridmsg"
CONSUMER = "tel1"
EVENTS = "/var/lib/ceilometer/events.log"
SERVICE_HOSTS = ("ctl1", "ctl2", CONSUMER)
_CONTROLLER_FILES = (
    "/etc/glance/glance-api.conf",
    "/etc/cinder/cinder.conf",
    "/etc/nova/nova.conf",
    "/etc/neutron/neutron.conf",
    "/etc/heat/heat.conf",
)
FILES = {
    "ctl1": _CONTROLLER_FILES,
    "ctl2": (*_CONTROLLER_FILES, "/etc/neutron/server.conf.d/site.conf"),
    CONSUMER: ("/etc/ceilometer/ceilometer.conf",),
}
"""The files that name a bus, by host; seed.py gives ctl2 one more."""
UNITS = {**dict.fromkeys(("ctl1", "ctl2"), SERVICES), CONSUMER: ("ceilometer-agent-notification",)}


def fingerprints(lab: Lab, *, live: bool = False) -> dict[str, list[str]]:
    """Return, by service host, each file's sha256, mode and owner and each unit's states.

    With `live` also what tells an untouched file and process from an equal one: inode, ctime and main PID.
    """
    return {host: _fingerprint(lab, host, live=live) for host in SERVICE_HOSTS}


def _fingerprint(lab: Lab, host: str, *, live: bool) -> list[str]:
    files, units = " ".join(FILES[host]), " ".join(UNITS[host])
    script = f"""
        sha256sum {files}; stat -c '%n %a %U:%G{" %i %z" if live else ""}' {files}
        systemctl show -p Id,ActiveState,UnitFileState{",MainPID" if live else ""} {units}
    """
    return lab.run(host, script).stdout.split("\n")


def add_routers(lab: Lab, *hosts: str, inventory: str = INVENTORY) -> None:
    """Put broker hosts into the qdrouterd group of an inventory on the operator host."""
    for host in hosts:
        file = f"{inventory}/hosts.yaml"
        lab.run("ops1", ["sed", "-i", f"/^{host}:/s/rabbitmq/rabbitmq, qdrouterd/", file])
        lab.run("ops1", ["grep", "-q", f"^{host}:.*qdrouterd", file])


def create_image(lab: Lab, host: str) -> str:
    """Create an image through glance-api's own HTTP interface on `host` and return its id."""
    image = str(uuid.uuid4())
    body = {"id": image, "name": "hybridmsg", "disk_format": "raw", "container_format": "bare"}
    script = """
import json, sys, urllib.request
request = urllib.request.Request(
    "http://127.0.0.1:9292/v2/images", sys.stdin.buffer.read(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=30).status)
"""
    lab.run(host, ["python3", "-c", script], input=json.dumps(body).encode())
    return image


def heard(lab: Lab, thing: str, timeout: float = 30) -> bool:
    """Wait until ceilometer has written down the notification about an image or network; False when it never does."""
    wait = f"timeout {timeout:g} tail -n +1 -F {EVENTS} 2>/dev/null | grep -m1 -q {thing}"
    return lab.run(CONSUMER, wait, check=False, timeout=timeout + 10).returncode == 0


def hybridmsg(lab: Lab, verb: str, *words: str, inventory: str = INVENTORY, timeout: float = 600) -> dict[str, Any]:
    """Run `hybridmsg VERB --json` on the operator host, which must succeed, and return its document."""
    code, document, err = hybridmsg_ends(lab, verb, *words, inventory=inventory, timeout=timeout)
    if code:
        raise AssertionError(f"hybridmsg {verb} ended with {code}: {err}\n{json.dumps(document)[-3000:]}")
    return document


def hybridmsg_ends(
    lab: Lab, verb: str, *words: str, inventory: str = INVENTORY, timeout: float = 600
) -> tuple[int, dict[str, Any], str]:
    """Run `hybridmsg VERB --json` on the operator host; return its exit code, its document, and its stderr."""
    done = lab.run("ops1", ["hybridmsg", verb, *words, "-i", inventory, "--json"], check=False, timeout=timeout)
    if not done.stdout.strip():
        raise AssertionError(f"hybridmsg {verb} printed nothing (exit {done.returncode}): {done.stderr}")
    return done.returncode, json.loads(done.stdout), done.stderr


def migrate_and_at(
    lab: Lab, inventory: str, line: str, act: Callable[[], object], timeout: float = 300
) -> tuple[int, list[str]]:
    """Migrate, do something when progress tells `line`, and return the exit code and all that progress told."""
    argv = ["hybridmsg", "migrate", "-i", inventory]
    process = lab.popen("ops1", argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = []
    for raw in process.stderr:
        told.append(raw.decode())
        if line in told[-1]:
            act()
    return process.wait(timeout=timeout), told


def wait_until(condition: Any, timeout: float, what: str) -> None:
    """Ask `condition` until it is true; raises AssertionError naming `what` after `timeout` seconds."""
    ends = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.2)

"""Passwords: searched in all that is left behind, on the controller and on every host, and in all that is shown."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator

import pytest

from tests.faults.conftest import Known
from tests.faults.controller import AGENT
from tests.faults.site import CONFIG, CONTROLLER, HOSTS, INVENTORY, LIGHT, Site
from tests.lab.layout import OPERATOR

pytestmark = pytest.mark.timeout(600)
_SAMPLE = (
    "for i in $(seq 600); do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; sleep 0.1; done >/root/sampled"
)
# What must hold a password: the services' own files, the inventory's, the servers' own, and root's 0600 records.
_OWN = {
    OPERATOR: (f"{INVENTORY}/secrets.yaml", f"{CONTROLLER}/"),
    **dict.fromkeys(LIGHT, (CONFIG, f"{AGENT}/")),
    "msg1": ("/var/lib/rabbitmq/", f"{AGENT}/"),
    "msg2": ("/var/lib/qdrouterd/", "/etc/qpid-dispatch/", f"{AGENT}/"),
}
_SEARCH = r"""
import os, sys
patterns = sys.stdin.buffer.read().split(b"\0")
for top in ("/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/var"):
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                content = open(path, "rb").read()
                if any(one in content for one in patterns):
                    state = os.stat(path)
                    print(f"{path} {state.st_uid} {state.st_mode & 0o777:o}")
"""


def spellings(password: str) -> set[str]:
    """Return a password as it may stand somewhere: as it is, in a URL, in JSON, in a shell's quotes."""
    return {
        password,
        urllib.parse.quote(password, safe=""),
        urllib.parse.quote(password),
        json.dumps(password)[1:-1],
        password.replace("%", "%%"),
        password.replace("$", "$$"),
    }


def passwords(site: Site) -> list[str]:
    """Return every secret of the inventory."""
    text = site.lab.read(OPERATOR, f"{INVENTORY}/secrets.yaml").decode()
    script = "import json, sys; from ruamel.yaml import YAML; print(json.dumps(YAML(typ='safe').load(sys.stdin)))"
    found = site.lab.run(OPERATOR, ["hybridmsg-python", "-c", script], input=text.encode()).stdout
    return [str(value) for value in json.loads(found).values()]


@pytest.fixture
def patterns(known: Known) -> set[str]:
    return {one for password in passwords(known.site) for one in spellings(password)}


@pytest.fixture
def sampled(known: Known) -> Iterator[None]:
    """Every process of every host, its words and its environment, ten times a second."""
    site = known.site
    samplers = [site.lab.popen(host, _SAMPLE) for host in (OPERATOR, *HOSTS)]
    yield
    for one in samplers:
        one.kill()
        one.wait()
    for host in (OPERATOR, *HOSTS):
        site.lab.run(host, "rm -f /root/sampled")


@pytest.mark.ci
def test_no_password_is_shown_or_left_where_it_need_not_be(
    on_rabbit: Site, known: Known, patterns: set[str], sampled: None
) -> None:
    site, told = on_rabbit, []
    write, start = known.phase("file.write"), known.phase("unit.start")
    told += [site.run("plan", "-o", "/root/relay.plan"), site.run("show-transports"), site.run("preflight")]
    told += [site.agent_killed(write, "migrate")]
    with site.fault(start.host, f"doing@{start.step}=eio"):
        told += [site.run("migrate")]
    told += [site.run("reconcile", "--deep"), site.run("verify"), site.run("status"), site.run("history")]
    told += [site.run("show", "last"), site.run("rollback", "--dry-run"), site.run("rollback"), site.run("release")]
    assert 0 not in (told[3].code, told[4].code)
    assert [ended.code for ended in (*told[:3], *told[5:])] == [2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]
    for ended in told:
        assert [one for one in patterns if one in ended.err or one in json.dumps(ended.document)] == []
    found = {host: _found(site, host, patterns) for host in (OPERATOR, *HOSTS)}
    assert {host: own for host, own in found.items() if own} == {}


def _found(site: Site, host: str, patterns: set[str]) -> list[str]:
    """Return the files of a host, its journal and the samples among them, that hold a password and must not."""
    site.lab.run(host, "journalctl -q --no-pager -a >/root/journald 2>&1", timeout=120)
    raw = "\0".join(sorted(patterns)).encode()
    lines = site.lab.run(host, ["python3", "-c", _SEARCH], input=raw, timeout=300).stdout.splitlines()
    site.lab.run(host, "rm /root/journald")
    return [line for line in lines if not _may_hold(host, line)]


def _may_hold(host: str, line: str) -> bool:
    path, uid, mode = re.fullmatch(r"(.*) (\d+) ([0-7]+)", line).groups()  # type: ignore[union-attr]  # as printed
    own = any(path == one or (one.endswith("/") and path.startswith(one)) for one in _OWN[host])
    record = path.startswith((AGENT, CONTROLLER))
    return own and (not record or (uid, mode) == ("0", "600"))

"""The small site that faults are tried on: a broker, a router, and relay on two light hosts."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults import inject
from tests.faults.controller import AGENT, Controller
from tests.lab import Lab
from tests.lab.layout import OPERATOR, PROJECT

INVENTORY = "/root/inventories/relay"
CONTROLLER = "/var/lib/hybridmsg-controller"
CONFIG = "/etc/relay/relay.conf"
BROKER, ROUTER = "msg1", "msg2"
LIGHT = ("light1", "light2")
HOSTS = (BROKER, ROUTER, *LIGHT)
UNITS = ("relay-api", "relay-conductor")
PASSWORD = "canary-relay: n/o#v?a, $pass %w\"o'rd"
_SOURCE = PROJECT / "tests/lab/load/inventory"


class Site(Controller):
    """The hosts, and hybridmsg on the operator host with an inventory of its own."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, INVENTORY, HOSTS)
        self.doubtful = False
        """Whether a test failed, and left who knows what."""
        self._first: dict[str, bytes] = {}

    # -- what is -----------------------------------------------------------------------------------------

    def fingerprint(self) -> dict[str, str]:
        """Return of each light host its files' bytes, modes, owners and xattrs, units' states, and what is pending."""
        return {host: self.lab.run(host, _LOOK).stdout for host in LIGHT}

    def live(self) -> dict[str, str]:
        """Return the fingerprint with what tells an untouched file and process from an equal one."""
        more = f"stat -c '%i %z' {CONFIG}; systemctl show -p MainPID {shlex.join(UNITS)}"
        return {host: one + self.lab.run(host, more).stdout for host, one in self.fingerprint().items()}

    def scheme(self) -> set[str]:
        """Return where relay's RPC goes by its files: {"rabbit"}, {"amqp"}, or more when it is split."""
        first = f"sed -n 's/^transport_url *= *//p' {CONFIG} | head -1"
        return {self.lab.run(host, first).stdout.partition(":")[0] for host in LIGHT}

    def answers(self) -> bool:
        """Tell whether both conductors answer a real call from each host, on the bus that its file names."""
        words = f"RELAY_ASK='{' '.join(LIGHT)}' timeout 40 relay-ask --config-file {CONFIG}"
        asked = [self.lab.popen(host, words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for host in LIGHT]
        return [one.wait() for one in asked] == [0] * len(LIGHT)

    # -- the beginning -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Bring relay to RabbitMQ, proven, from hosts as their images have them; the inventory wants a router then."""
        self.renew()
        self.lab.run(OPERATOR, f"rm -rf {CONTROLLER} {INVENTORY} && mkdir -p {INVENTORY}/projects")
        for file in sorted(_SOURCE.rglob("*.yaml")):
            self.lab.write(OPERATOR, f"{INVENTORY}/{file.relative_to(_SOURCE)}", file.read_bytes())
        secrets = f"relay_oslomsg_rpc_password: {json.dumps(PASSWORD)}\n"
        self.lab.write(OPERATOR, f"{INVENTORY}/secrets.yaml", secrets.encode(), mode=0o600)
        inject.install(self.lab, HOSTS)
        self.done("migrate")
        self._first = {host: self.lab.read(host, CONFIG) for host in LIGHT}
        self.edit("hosts", "# msg2:", "msg2:")

    def renew(self) -> None:
        """Give every host back that anything was done to, in whatever state a session that was cut off left it."""
        touched = [host for host in HOSTS if host in self.lab.hosts and self._touched(host)]
        if touched:
            self.lab.reset(*touched)

    def _touched(self, host: str) -> bool:
        if not self.lab.machine(host).alive():
            return False
        traces = f"ls -d {AGENT} {CONTROLLER} /usr/sbin/rabbitmqctl /usr/sbin/qdrouterd 2>/dev/null"
        return self.lab.run(host, traces, check=False).stdout.strip() != ""

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text, which must be there, in a file of the inventory."""
        path = f"{INVENTORY}/{file}.yaml"
        text = self.lab.read(OPERATOR, path).decode()
        assert old in text, f"{path} has no {old!r}"
        self.lab.write(OPERATOR, path, text.replace(old, new).encode())

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """A file of the inventory with another text, until the end of the block."""
        self.edit(file, old, new)
        try:
            yield
        finally:
            self.edit(file, new, old)

    def to_begin(self) -> None:
        """Have relay on RabbitMQ: as it stands after a test, or put there after one that failed."""
        doubtful = self.doubtful
        self._heal()
        if self.scheme() != {"rabbit"} or not self.settled():
            self.done("rollback", "--force", "--purge-leftovers")
        for host, content in self._first.items() if doubtful else ():
            if self.lab.read(host, CONFIG) != content:
                self.lab.write(host, CONFIG, content, mode=0o640)
                self.lab.run(host, "systemctl restart relay-conductor")

    def to_routers(self) -> None:
        """Have relay on the router."""
        self._heal()
        if self.scheme() != {"amqp"} or not self.settled():
            self.done("migrate")

    def _heal(self) -> None:
        if self.doubtful:
            self.await_agents()
            self.run("release")
            self.run("reconcile")
        self.doubtful = False

    def is_new(self) -> bool:
        """Tell whether relay is whole on the router, confirmed, and answers."""
        return self.scheme() == {"amqp"} and self.settled() and self.answers()

    def heals_and_returns(self, beginning: dict[str, str]) -> None:
        """Whatever there was: one reconcile makes it new, and one rollback what it was in the beginning."""
        self.done("reconcile")
        assert self.is_new()
        self.done("rollback")
        assert self.fingerprint() == beginning
        assert self.answers()

    def settled(self) -> bool:
        """Tell whether no host waits for a confirmation and relay runs."""
        script = f"! [ -e {AGENT}/pending.json ] && systemctl is-active -q relay-conductor"
        return all(self.lab.run(host, script, check=False).returncode == 0 for host in LIGHT)


_LOOK = f"""
    sha256sum {CONFIG}
    find /etc/relay -printf '%p %y %m %u:%g\\n' | sort
    python3 -c 'import os; print(sorted((n, os.getxattr("{CONFIG}", n)) for n in os.listxattr("{CONFIG}")))'
    systemctl show -p Id,LoadState,ActiveState,UnitFileState {shlex.join(UNITS)}
    [ -e {AGENT}/pending.json ] && echo pending
    true
"""

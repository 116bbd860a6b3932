"""Routers on one lab host: each a transient unit of systemd with a configuration and ports of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.lab import Lab

REALM = "openstack"
USERS = {"nova": "nova-pw", "hybridmsg": "link-pw"}
DATABASE = "/var/lib/qdrouterd/qdrouterd.sasldb"
_DIRECTORY = "/etc/contract"
PASSWORD_FILE = f"{_DIRECTORY}/link-password"
PREFIXES = {"multicast": "multicast", "unicast": "closest", "anycast": "balanced"}
LOG = ("log", {"module": "DEFAULT", "enable": "info+"})
Section = tuple[str, Mapping[str, object]]

_LISTENS = """
import socket, sys, time
deadline = time.monotonic() + 10
for port in sys.argv[1:]:
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(port)), 1).close()
            break
        except OSError:
            if time.monotonic() > deadline:
                sys.exit(f"nobody listens on port {port}")
            time.sleep(0.02)
"""


def render(sections: Sequence[Section]) -> str:
    """Return qdrouterd.conf."""
    return "".join(
        f"{name} {{\n" + "".join(f"    {key}: {value}\n" for key, value in body.items()) + "}\n"
        for name, body in sections
    )


def listener(port: int, **more: object) -> Section:
    """Return a listener that takes PLAIN only."""
    words = {"name": f"port-{port}", "host": "127.0.0.1", "port": port, "authenticatePeer": "yes"}
    return "listener", words | {"saslMechanisms": "PLAIN"} | more


def connector(name: str, port: int, cost: int = 1, **more: object) -> Section:
    """Return a connector to another router's inter-router port."""
    words = {"name": name, "host": "127.0.0.1", "port": port, "role": "inter-router", "cost": cost}
    login = {"saslMechanisms": "PLAIN", "saslUsername": f"hybridmsg@{REALM}", "saslPassword": f"file:{PASSWORD_FILE}"}
    return "connector", words | login | more


def addresses() -> list[Section]:
    """Return the treatment of OpenStack's addresses."""
    return [
        ("address", {"prefix": f"openstack.org/om/rpc/{word}", "distribution": way}) for word, way in PREFIXES.items()
    ]


@dataclass(frozen=True)
class Router:
    """A router that was started."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"amqp://127.0.0.1:{self.port}"


class Routers:
    """Starts and stops routers on a host."""

    def __init__(self, lab: Lab, host: str) -> None:
        self.lab = lab
        self.host = host
        self._ports: dict[str, list[str]] = {}

    def install(self, *packages: str) -> None:
        """Install packages from the lab's repository; without fsync, for the host will not outlive the tests."""
        script = """
            export DEBIAN_FRONTEND=noninteractive
            apt-get update -q && apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-unsafe-io "$@"
        """
        self.lab.run(self.host, ["/bin/sh", "-c", script, "install", *packages], timeout=180)

    def prepare(self) -> None:
        """Make the users and what the configurations refer to."""
        self.lab.run(self.host, ["install", "-d", _DIRECTORY])
        for user, word in USERS.items():
            self.add_user(user, word)
        self.lab.write(self.host, PASSWORD_FILE, USERS["hybridmsg"].encode(), mode=0o600)
        self.lab.run(self.host, f"chown qdrouterd: {PASSWORD_FILE}")

    def add_user(self, user: str, word: str) -> None:
        """Add a SASL user, as an operator does, whether routers run or not."""
        add = ["saslpasswd2", "-c", "-p", "-f", DATABASE, "-u", REALM, user]
        self.lab.run(self.host, add, input=word.encode())
        self.lab.run(self.host, f"chown qdrouterd: {DATABASE}; chmod 600 {DATABASE}")

    def write(self, name: str, text: str) -> str:
        """Write a configuration and return its path."""
        path = f"{_DIRECTORY}/{name}.conf"
        self.lab.write(self.host, path, text.encode())
        return path

    def start(self, name: str, sections: Sequence[Section]) -> Router:
        """Start a router and wait until it listens on all its ports; clients use its first."""
        self.write(name, render([*sections, LOG]))
        self._ports[name] = [str(body["port"]) for kind, body in sections if kind == "listener"]
        self.again(name)
        return Router(name, int(self._ports[name][0]))

    def again(self, name: str) -> None:
        """Start a router on the configuration that it had, and wait until it listens."""
        unit = ["systemd-run", "-q", f"--unit={unit_of(name)}", "-p", "User=qdrouterd", "--collect"]
        self.lab.run(self.host, [*unit, "/usr/sbin/qdrouterd", "-c", f"{_DIRECTORY}/{name}.conf"])
        done = self.lab.run(self.host, ["python3", "-c", _LISTENS, *self._ports[name]], check=False)
        if done.returncode:
            log = self.lab.run(self.host, f"journalctl -q --no-pager -n 20 -u {unit_of(name)}", check=False).stdout
            raise AssertionError(f"router {name}: {done.stderr}{log}")

    def kill(self, name: str) -> None:
        """End a router as a power cut does."""
        self.lab.run(self.host, ["systemctl", "kill", "-s", "KILL", unit_of(name)])

    def stop(self, *names: str) -> None:
        """End routers."""
        self.lab.run(self.host, ["systemctl", "stop", *map(unit_of, names)], check=False)

    def foreground(self, text: str, seconds: float = 5) -> tuple[int, str]:
        """Run a router on a configuration for some seconds: exit code (124: it ran on) and output."""
        path = self.write("foreground", text)
        command = ["timeout", f"{seconds:g}", "runuser", "-u", "qdrouterd", "--", "/usr/sbin/qdrouterd", "-c", path]
        done = self.lab.run(self.host, command, check=False)
        return done.returncode, done.stdout + done.stderr


def unit_of(name: str) -> str:
    """Return the unit that a router runs in."""
    return f"contract-{name}.service"


def mesh(
    first_port: int, links: Mapping[tuple[int, int], int], size: int, more: Sequence[Section] = ()
) -> list[list[Section]]:
    """Return the configurations of `size` routers; links are (of the later router, of the earlier one): cost."""
    configurations: list[list[Section]] = []
    for number in range(size):
        port = first_port + 10 * number
        sections: list[Section] = [("router", {"mode": "interior", "id": f"Router.{number}"}), listener(port)]
        sections.append(listener(port + 1, role="inter-router", idleTimeoutSeconds=4))
        for (later, earlier), cost in links.items():
            if later == number:
                sections.append(connector(f"to-{earlier}", first_port + 10 * earlier + 1, cost, idleTimeoutSeconds=4))
        configurations.append([*sections, *addresses(), *more])
    return configurations

"""Routers for tests: qdrouterd where it is installed, else the lab's stand-in on proton.

Each stands behind a door of bytes that does the SASL, so that no sasldb and no special build is needed.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.unit.amqp_door import Door

ROOT = Path(__file__).resolve().parents[2]
ROUTER = ["qdrouterd"] if shutil.which("qdrouterd") else [sys.executable, "-m", "tests.lab.router.standin.main"]
Section = dict[str, "str | int"]
SECTION = "{head} {{\n{lines}\n}}\n"


class Routers:
    """Routers msg1, msg2, ... of one mesh; `costs` maps (listening, connecting) to the cost of their link."""

    def __init__(self, folder: Path, count: int, costs: dict[tuple[int, int], int]) -> None:
        self._costs = costs
        self.plain = [free_port() for _ in range(count)]
        # One more, where nobody listens.
        self._mesh = [free_port() for _ in range(count + 1)]
        self.processes: list[subprocess.Popen[bytes]] = []
        for number in range(count):
            path = folder / f"msg{number + 1}.conf"
            path.write_text("".join(_section(head, content) for head, content in self._sections(number)))
            with (folder / f"msg{number + 1}.out").open("wb") as log:
                router = subprocess.Popen([*ROUTER, "-c", str(path)], cwd=ROOT, stdout=log, stderr=log)
            self.processes.append(router)
        self.doors = [Door(port) for port in self.plain]

    def _sections(self, number: int) -> Iterator[tuple[str, Section]]:
        anonymous: Section = {"host": "127.0.0.1", "saslMechanisms": "ANONYMOUS"}
        listening: Section = {**anonymous, "authenticatePeer": "no"}
        yield "router", {"mode": "interior" if len(self.plain) > 1 else "standalone", "id": f"msg{number + 1}"}
        yield "listener", {"name": "clients", "port": self.plain[number], **listening}
        yield "address", {"name": "a1", "prefix": "openstack.org/om/rpc/multicast", "distribution": "multicast"}
        yield "address", {"name": "a2", "prefix": "openstack.org/om/rpc/unicast", "distribution": "closest"}
        yield "log", {"module": "DEFAULT", "enable": "info+"}
        if len(self.plain) > 1:
            yield "listener", {"name": "routers", "port": self._mesh[number], "role": "inter-router", **listening}
        for (to, connecting), cost in self._costs.items():
            if connecting == number:
                link: Section = {
                    "name": f"to-msg{to + 1}",
                    "port": self._mesh[to],
                    "role": "inter-router",
                    "cost": cost,
                }
                yield "connector", {**link, **anonymous}

    def end(self) -> None:
        for door in self.doors:
            door.close()
        for process in self.processes:
            process.kill()
            process.wait(10)


def _section(head: str, content: Section) -> str:
    return SECTION.format(head=head, lines="\n".join(f"    {name}: {value}" for name, value in content.items()))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def await_port(port: int) -> None:
    until = time.monotonic() + 20
    with socket.socket() as trying:
        while trying.connect_ex(("127.0.0.1", port)):
            # A program that starts to listen tells nobody.
            assert time.monotonic() < until, f"nobody listens on {port}"
            time.sleep(0.02)

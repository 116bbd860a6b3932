"""What the fast socket and the one-agent session save, as ratios to plain paramiko measured in the same run.

python -m bench.ssh [ROUNDS]: starts an sshd on loopback (as root) and prints medians. Trust the ratios only.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import paramiko
from rich.console import Console
from rich.table import Table

from deployer.nornir_plugins.connection import HostConnection
from tests.ssh import sshd
from tests.ssh.sshd import Sshd

REQUESTS = 10
NOTHING = {"files": {}, "units": [], "packages": [], "programs": [], "rabbitmq": False}


def plain_paramiko(server: Sshd) -> None:
    """Connect as paramiko's own example does and run ten commands."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(server.known_hosts))
    client.connect(
        "127.0.0.1", server.port, sshd.USER, key_filename=str(server.client_key), allow_agent=False, look_for_keys=False
    )
    for _ in range(REQUESTS):
        client.exec_command("true")[1].channel.recv_exit_status()
    client.close()


def plain_connect(server: Sshd) -> None:
    """Connect as paramiko's own example does."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(server.known_hosts))
    client.connect(
        "127.0.0.1", server.port, sshd.USER, key_filename=str(server.client_key), allow_agent=False, look_for_keys=False
    )
    client.close()


def our_connect(server: Sshd) -> None:
    """Connect only."""
    _open(server).close()


def agent_session(server: Sshd) -> None:
    """Connect, start the product's agent and ask ten times."""
    connection = _open(server)
    for _ in range(REQUESTS):
        connection.connection.request("facts", dict(NOTHING), deadline=30)
    connection.close()


def _open(server: Sshd) -> HostConnection:
    connection = HostConnection()
    connection.open("127.0.0.1", sshd.USER, None, server.port, None, server.extras())
    return connection


ROWS: tuple[tuple[str, Callable[[Sshd], None], Callable[[Sshd], None]], ...] = (
    ("connect", our_connect, plain_connect),
    (f"connect + {REQUESTS} requests", agent_session, plain_paramiko),
)


def _milliseconds(work: Callable[[Sshd], None], server: Sshd) -> float:
    began = time.perf_counter()
    work(server)
    return 1000 * (time.perf_counter() - began)


def main(rounds: int) -> None:
    """Print the table; ours and paramiko's runs take turns so that a busy machine is busy for both."""
    with tempfile.TemporaryDirectory() as folder:
        server = sshd.start(Path(folder) / "sshd", sshd.keygen(Path(folder) / "id"))
        try:
            table = Table("", "hybridmsg ms", "plain paramiko ms", "ratio", title=f"medians of {rounds} rounds")
            for name, ours, theirs in ROWS:
                pairs = [(_milliseconds(ours, server), _milliseconds(theirs, server)) for _ in range(rounds)]
                mine, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
                table.add_row(name, f"{mine:.0f}", f"{plain:.0f}", f"{mine / plain:.2f}")
        finally:
            server.stop()
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)

"""A real sshd on a loopback port of its own: own host keys, own configuration, ended by its process id."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nornir.core import Nornir
from nornir.core.inventory import ConnectionOptions, Defaults, Groups, Host, Hosts, Inventory

from deployer.nornir_plugins.runner import DeadlineRunner

USER = pwd.getpwuid(os.getuid()).pw_name


def keygen(path: Path, *options: str) -> Path:
    """Make a key pair without passphrase, ed25519 unless the options say otherwise."""
    subprocess.run(
        ["ssh-keygen", "-q", "-N", "", "-t", "ed25519", *options, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


@dataclass
class Sshd:
    """A running server; `log` grows while it is spoken to."""

    folder: Path
    port: int
    client_key: Path
    process: subprocess.Popen[bytes]
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """All that the server has said so far (LogLevel DEBUG1)."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def known_hosts(self) -> Path:
        """A file that knows this server's keys under its address."""
        file = self.folder / "known_hosts"
        if not file.exists():
            lines = [f"[127.0.0.1]:{self.port} {key.read_text()}" for key in sorted(self.folder.glob("host_*.pub"))]
            file.write_text("".join(lines))
        return file

    def extras(self, **changes: Any) -> dict[str, Any]:
        """Return the connection's extras for this server."""
        usual = {"key_file": str(self.client_key), "known_hosts": str(self.known_hosts), "connect_timeout": 5}
        return {**usual, **self.extra, **changes}

    def serving(self) -> list[int]:
        """Return the processes that serve connections."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def stop(self) -> None:
        """End the server; its sessions end with their connections."""
        self.process.terminate()
        self.process.wait(10)


def start(folder: Path, client_key: Path, *lines: str, host_key_types: tuple[str, ...] = ("ed25519",)) -> Sshd:
    """Start a server with the configuration `lines` in place of the usual ones of the same keyword."""
    folder.mkdir(parents=True)
    for kind in host_key_types:
        keygen(folder / f"host_{kind}", "-t", kind)
    authorized = folder / "authorized_keys"
    authorized.write_text(client_key.with_suffix(".pub").read_text())
    port = free_port()
    usual = [
        f"ListenAddress 127.0.0.1:{port}",
        *(f"HostKey {folder}/host_{kind}" for kind in host_key_types),
        f"AuthorizedKeysFile {authorized}",
        f"PidFile {folder}/pid",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "StrictModes no",
        # bash sources the tester's own ~/.bashrc under sshd, but not as the child of another shell.
        "SetEnv SHLVL=5",
        "LogLevel DEBUG1",
        "MaxStartups 100",
    ]
    given = {line.split()[0] for line in lines}
    settings = [*lines, *(line for line in usual if line.split()[0] not in given)]
    (folder / "config").write_text("\n".join(settings) + "\n")
    # sshd drops privileges into this directory; Debian makes it at the service's start only.
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(folder / "config"), "-E", str(folder / "log")])
    server = Sshd(folder, port, client_key, process)
    _await_listening(server)
    return server


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def nornir_over(servers: dict[str, tuple[int, dict[str, Any]]], runner: DeadlineRunner | None = None) -> Nornir:
    """Return a Nornir whose hosts are {name: (port, extras)}, all on loopback."""
    hosts = Hosts()
    for name, (port, extras) in servers.items():
        options = {"hybridmsg_ssh": ConnectionOptions(extras=extras)}
        hosts[name] = Host(name, hostname="127.0.0.1", port=port, username=USER, connection_options=options)
    inventory = Inventory(hosts=hosts, groups=Groups(), defaults=Defaults())
    return Nornir(inventory, runner=runner or DeadlineRunner())


def _await_listening(server: Sshd) -> None:
    ends_at = time.monotonic() + 10
    while "Server listening on" not in (server.log if (server.folder / "log").exists() else ""):
        if server.process.poll() is not None or time.monotonic() > ends_at:
            server.process.kill()
            raise RuntimeError(f"sshd does not listen on port {server.port}: see {server.folder}/log")
        # sshd tells nobody when it listens, and a connection to find out would count in the tests.
        time.sleep(0.01)

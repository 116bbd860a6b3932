"""Real sshds on loopback, one for each way a host can behave."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.nornir_plugins.connection import HostConnection
from tests.ssh import sshd
from tests.ssh.sshd import Sshd

Start = Callable[..., Sshd]
Open = Callable[..., HostConnection]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs an sshd where there is none, or no right to run one."""
    if Path("/usr/sbin/sshd").exists() and os.geteuid() == 0:
        return
    for item in items:
        if "tests/ssh" in str(item.path):
            item.add_marker(pytest.mark.skip(reason="needs /usr/sbin/sshd and root"))


@pytest.fixture(scope="session")
def client_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key that every server lets in."""
    return sshd.keygen(tmp_path_factory.mktemp("client") / "id")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, client_key: Path) -> Iterator[Sshd]:
    """A server that behaves."""
    running = sshd.start(tmp_path_factory.mktemp("server") / "sshd", client_key)
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path: Path, client_key: Path) -> Iterator[Start]:
    """Start further servers: start(*settings, host_key_types=...)."""
    running: list[Sshd] = []
    names = (f"sshd{number}" for number in itertools.count())

    def begin(*lines: str, **options: Any) -> Sshd:
        running.append(sshd.start(tmp_path / next(names), client_key, *lines, **options))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


@pytest.fixture
def start_with_shell(start: Start, tmp_path: Path) -> Start:
    """Start a server whose logins run a shell script of ours: start_with_shell(script, programs={name: script}).

    Only `programs` and those of /usr/bin named in `usual` are in its PATH.
    """

    def begin(script: str, programs: dict[str, str] | None = None, usual: tuple[str, ...] = ("sh",)) -> Sshd:
        path = tmp_path / "bin"
        path.mkdir()
        for name in usual:
            (path / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or name)
        for name, text in (programs or {}).items():
            (path / name).write_text(f"#!/bin/sh\n{text}\n")
            (path / name).chmod(0o755)
        login = tmp_path / "login"
        login.write_text(f"PATH={path}\n{script}\n")
        return start(f"ForceCommand exec /bin/sh {login}")

    return begin


@pytest.fixture
def connect() -> Iterator[Open]:
    """Open connections: connect(server, **extras); they are closed at the end."""
    opened: list[HostConnection] = []

    def begin(to: Sshd, **extras: Any) -> HostConnection:
        connection = HostConnection()
        connection.open("127.0.0.1", sshd.USER, None, to.port, None, to.extras(**extras))
        opened.append(connection)
        return connection

    yield begin
    for connection in opened:
        connection.close()

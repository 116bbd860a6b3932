from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import rabbitmq
from deployer.agent.deeds import Merged
from deployer.agent.journal import Journal
from deployer.agent.steps import apply, parse
from deployer.agent.undo import undo
from tests.unit.agent.broker import Broker
from tests.unit.agent.client import Client

SYSTEMCTL = """
import pathlib
at = pathlib.Path(__file__).parent / "states"
states = json.loads(at.read_text())
verb, unit = argv[0], argv[-1]
if verb == "show":
    for unit in argv[argv.index("--") + 1:]:
        active, enabled = states[unit]
        print(f"Id={unit}\\nNames={unit}\\nLoadState=loaded\\nActiveState={active}\\nUnitFileState={enabled}")
        print("MainPID=0\\nNeedDaemonReload=no\\n")
after = {"start": ("active", 0), "restart": ("active", 0), "stop": ("inactive", 0), "enable": ("enabled", 1),
         "disable": ("disabled", 1)}
if verb in after:
    states[unit][after[verb][1]] = after[verb][0]
    at.write_text(json.dumps(states))
"""


class Programs:
    """Stand-ins for a host's programs, first on PATH; `calls` tells who was called with what."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "calls.jsonl"

    def add(self, name: str, body: str = "") -> None:
        """Add a Python program; `argv` is its arguments, its env and stdin are recorded before `body` runs."""
        path = self.directory / name
        path.write_text(
            f"#!{sys.executable} -S\nimport json, os, sys\nargv = sys.argv[1:]\n"
            f"call = dict(name={name!r}, argv=argv, env=dict(os.environ), stdin=sys.stdin.read())\n"
            f"with open({str(self._log)!r}, 'a') as log: print(json.dumps(call), file=log)\n{body}\n"
        )
        path.chmod(0o755)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def argvs(self, name: str) -> list[list[str]]:
        return [call["argv"] for call in self.calls if call["name"] == name]

    @property
    def path(self) -> str:
        return f"{self.directory}:{os.environ['PATH']}"


class Run:
    """One run on a scratch host: applies and undoes, and collects the events."""

    def __init__(self, state: Path) -> None:
        self.journal = Journal(state, "r1")
        self.journal.begin("ann", "now")
        self.events: list[dict[str, Any]] = []
        self.gone = threading.Event()

    def apply(self, *steps: dict[str, Any]) -> list[dict[str, Any]]:
        return apply([parse(raw) for raw in steps], self.journal, self.events.append, self.gone)

    def undo(
        self, *steps: str, force: bool = False, merged: Mapping[str, Merged] | None = None
    ) -> list[dict[str, Any]]:
        chosen = list(steps) or None
        return undo(self.journal, chosen, self.events.append, self.gone, force=force, merged=merged)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    directory = tmp_path / "bin"
    directory.mkdir()
    found = Programs(directory)
    monkeypatch.setenv("PATH", found.path)
    return found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def agents(state: Path, programs: Programs) -> Iterator[Callable[..., Client]]:
    """Start agents on one state directory, with the test's programs on PATH; each is ended with the test."""
    started: list[Client] = []

    def start(**options: Any) -> Client:
        started.append(Client(state, **options))
        return started[-1]

    yield start
    for client in started:
        client.close()


@pytest.fixture
def agent(agents: Callable[..., Client]) -> Client:
    return agents()


@pytest.fixture
def run(state: Path) -> Run:
    return Run(state)


@pytest.fixture
def systemd(programs: Programs) -> Programs:
    """A stand-in for systemd with two units: a.service runs and is enabled, b.service is neither."""
    programs.add("systemctl", SYSTEMCTL)
    states = '{"a.service": ["active", "enabled"], "b.service": ["inactive", "disabled"]}'
    (programs.directory / "states").write_text(states)
    return programs


@pytest.fixture
def broker(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(rabbitmq, "COOKIE", str(tmp_path / "cookie"))
    monkeypatch.setattr(rabbitmq, "RETRY_PAUSE", 0.01)
    return Broker(programs, tmp_path / "replies.json")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start a sleeping process with the argv given; returns its PID once it is that program."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, program: str = "", **options: Any) -> int:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(program.encode())
        process.stdin.close()
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

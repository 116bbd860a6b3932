from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agent.client import Client


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

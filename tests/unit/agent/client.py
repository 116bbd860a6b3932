"""A controller for tests: speaks the agent's frames over real pipes to a real agent process."""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
_SERVE = "from deployer.agent.main import serve; serve(0, 1)"


class Client:
    """One agent process; `events` collects what it sent before its answers."""

    def __init__(self, state: Path, path: str | None = None, silence: float = 60.0) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRIDMSG_STATE": str(state)}
        env |= {"HYBRIDMSG_SILENCE": str(silence), "PATH": path or os.environ["PATH"]}
        command = [sys.executable, "-c", _SERVE]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.events: list[dict[str, Any]] = []

    def tell(self, op: str, number: int = 1, **args: Any) -> None:
        body = json.dumps({"id": number, "op": op, "args": args}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(struct.pack(">I", len(body)) + body)
        self.process.stdin.flush()

    def frame(self) -> dict[str, Any]:
        """Return the next frame; raises EOFError when the agent has closed its end."""
        assert self.process.stdout is not None
        head = self.process.stdout.read(4)
        if len(head) < 4:
            raise EOFError
        body: dict[str, Any] = json.loads(self.process.stdout.read(struct.unpack(">I", head)[0]))
        return body

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        """Return the answer's `ok`, or its whole `error` under that key."""
        self.tell(op, **args)
        while "event" in (frame := self.frame()):
            self.events.append(frame["event"])
        return dict(frame["ok"]) if "ok" in frame else frame

    def lock(self, run: str = "r1") -> None:
        assert self.ask("lock", run=run, who="ann@ops", when="2026-01-01T00:00:00Z") == {}

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self.process.kill()
        self.process.wait(10)


def file_step(path: Path, content: bytes, number: str = "0001", **more: Any) -> dict[str, Any]:
    """Return a file.write step as the controller sends it; its preimage is what is there now unless given."""
    args = {"path": str(path), "content_b64": base64.b64encode(content).decode(), "mode": None, "user": None}
    preimage = more.pop("preimage", None)
    step = {"id": number, "scope": "project:nova", "kind": "file.write", "preimage": preimage, "reason": "because"}
    return {**step, "args": {**args, "group": None, **more}}


def step(kind: str, number: str = "0001", **args: Any) -> dict[str, Any]:
    return {"id": number, "scope": "project:nova", "kind": kind, "args": args, "preimage": None, "reason": "because"}

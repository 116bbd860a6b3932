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
_SERVE = "import sys; from deployer.agent.main import serve; serve(0, 1, float(sys.argv[1]))"


class Client:
    """One agent process; `events` collects what it told of steps before its answers, `lines` what it journaled."""

    def __init__(
        self, state: Path, path: str | None = None, silence: float = 60.0, fault: str = "", stderr: int | None = None
    ) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRIDMSG_STATE": str(state), "HYBRIDMSG_FAULT": fault}
        env |= {"PATH": path or os.environ["PATH"]}
        command = [sys.executable, "-c", _SERVE, str(silence)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env)
        self.events: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []

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
            event = frame["event"]
            self.lines += [event["journal"]] if "journal" in event else []
            self.events += [] if "journal" in event else [event]
        return dict(frame["ok"]) if "ok" in frame else frame

    def lock(self, run: str = "r1") -> dict[str, Any]:
        """Take the host and return the answer."""
        answer = self.ask("lock", run=run, who="ann@ops", when="2026-01-01T00:00:00Z")
        assert "error" not in answer
        return answer

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
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

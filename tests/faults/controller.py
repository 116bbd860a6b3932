"""hybridmsg on the operator host of a lab: its verbs run to their end, stopped at a point, killed there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from tests.faults import inject
from tests.lab import Lab
from tests.lab.cloud import wait_until
from tests.lab.layout import OPERATOR

AGENT = "/var/lib/hybridmsg"
LOCKED, HELD = 5, 7


@dataclass(frozen=True)
class Ended:
    """How a verb ended: its exit code, its JSON document ({} when it was killed), stderr, and the seconds it took."""

    code: int
    document: dict[str, Any]
    err: str
    seconds: float


@dataclass(frozen=True)
class Point:
    """A place in a run: the agent on `host` strikes at `spec` (POINT[@STEP][#N]), its step `number`, of a `kind`."""

    host: str
    spec: str
    number: int
    kind: str

    @property
    def step(self) -> str:
        """The step's id in the run, where the spec names one."""
        return self.spec.partition("@")[2]

    def __str__(self) -> str:
        return f"step {self.number} {self.kind} on {self.host} at {self.spec}"


class Controller:
    """The verbs of one inventory on the operator host; faults strike in the agents of its `hosts`.

    A verb may take so many `seconds`.
    """

    def __init__(self, lab: Lab, inventory: str, hosts: tuple[str, ...], seconds: float = 300) -> None:
        self.lab, self._inventory, self._hosts, self._seconds = lab, inventory, hosts, seconds

    # -- hybridmsg ---------------------------------------------------------------------------------------

    def run(self, verb: str, *words: str) -> Ended:
        """Run a verb to its end."""
        return self.end(self.begin(verb, *words))

    def done(self, verb: str, *words: str, code: int = 0) -> dict[str, Any]:
        """Run a verb, which must end with `code`, and return its document."""
        ended = self.run(verb, *words)
        assert ended.code == code, f"{verb} ended with {ended.code}, not {code}: {ended.err[-3000:]}"
        return ended.document

    def begin(self, verb: str, *words: str, inventory: str = "") -> Running:
        """Start a verb."""
        argv = ["hybridmsg", verb, *words, "-i", inventory or self._inventory, "--json"]
        out, err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - they live as long as what writes them
        process = self.lab.popen(OPERATOR, argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        return Running(self.lab, process, out, err)

    def end(self, running: Running, seconds: float = 0) -> Ended:
        """Wait for the end of a verb; one that takes longer is killed, and the test fails."""
        timeout = seconds or self._seconds
        try:
            code = running.process.wait(timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            raise AssertionError(f"no end after {timeout:g} s:\n{running.told()[-3000:]}") from None
        return Ended(code, json.loads(running.printed() or "{}"), running.told(), running.seconds)

    def journal(self, host: str, run: str) -> list[dict[str, Any]]:
        """Return the lines of a run's journal on a host; none where it has no such run."""
        found = self.lab.run(host, ["cat", f"{AGENT}/runs/{run}/journal.jsonl"], check=False).stdout
        return [json.loads(line) for line in found.splitlines()]

    # -- faults ------------------------------------------------------------------------------------------

    @contextmanager
    def fault(self, host: str, words: str) -> Iterator[None]:
        """Let every agent that starts on the host meanwhile strike as `words` say."""
        with inject.fault(self.lab, host, words):
            yield

    def agent_killed(self, point: Point, verb: str, *words: str) -> Ended:
        """Run a verb while the agent dies by SIGKILL at a point."""
        with self.fault(point.host, f"{point.spec}=kill"):
            return self.run(verb, *words)

    @contextmanager
    def paused(self, point: Point, verb: str, *words: str) -> Iterator[Running]:
        """A verb whose agent on one host waits at a point until the end of the block."""
        with self.fault(point.host, f"{point.spec}=pause"):
            running = self.begin(verb, *words)
            self._await_pause(point, running)
        try:
            yield running
        finally:
            self.resume(point.host)

    def resume(self, host: str) -> None:
        """Let the agent that waits on the host go on."""
        self.lab.run(host, f"rm -f {AGENT}/paused")

    def _await_pause(self, point: Point, running: Running) -> None:
        ends = time.monotonic() + self._seconds
        while not self.there(point.host, f"{AGENT}/paused"):
            if running.process.poll() is not None or time.monotonic() > ends:
                running.kill()
                raise AssertionError(f"never came to {point}:\n{running.told()[-3000:]}")
            time.sleep(0.1)  # a host has no way to tell of it

    def there(self, host: str, path: str) -> bool:
        """Tell whether a host has a file."""
        return self.lab.run(host, ["test", "-e", path], check=False).returncode == 0

    def controller_killed(self, point: Point, verb: str, *words: str) -> None:
        """Kill -9 the controller while the agent on a host stands at a point; its agents end the steps in hand."""
        with self.paused(point, verb, *words) as running:
            running.kill()
        self.await_agents()

    def await_agents(self, *hosts: str, seconds: int = 90) -> None:
        """Wait until no agent works on these hosts (all of them by default)."""
        for host in hosts or self._hosts:
            self.lab.run(host, f"flock -w {seconds} {AGENT}/lock true", timeout=seconds + 10)


class Running:
    """A verb under way on the operator host."""

    def __init__(self, lab: Lab, process: subprocess.Popen[bytes], out: IO[bytes], err: IO[bytes]) -> None:
        self._lab, self.process, self._out, self._err = lab, process, out, err
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._began

    def interrupt(self) -> None:
        """Send it what Ctrl-C sends, and wait until it says that it heard."""
        heard = self.told().count("SIGINT")
        self._lab.run(OPERATOR, "kill -INT $(pgrep -x hybridmsg)")
        wait_until(lambda: self.told().count("SIGINT") > heard or self.process.poll() is not None, 30, "it heard")

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def printed(self) -> str:
        """Return what it has printed."""
        return _content(self._out)

    def told(self) -> str:
        """Return what it has told on stderr."""
        return _content(self._err)


def _content(file: IO[bytes]) -> str:
    # At a place, not by the descriptor's own: that is the writer's too.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace").strip()

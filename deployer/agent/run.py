"""The one way in which the agent runs a program: no stdin of ours, a deadline on its group, bounded text."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from deployer.agent.errors import StepError

OUTPUT_LIMIT = 16 * 1024 * 1024  # bytes kept of each stream, the last ones: an error stands at the end
TERM_GRACE = 5.0  # seconds between SIGTERM and SIGKILL: dpkg cleans up after itself when it is asked to
KILL_GRACE = 10.0  # seconds between SIGKILL and giving up: the kernel may hold it, waiting for a disk
DRAIN_GRACE = 1.0  # seconds for the pipes after the exit: a daemon left behind may hold them open for ever
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True)
class Completed:
    """A program's end: `returncode` (negative: the signal), its text, whether the deadline killed it."""

    argv: list[str] = field(repr=False)
    returncode: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it exited with 0 before its deadline."""
        return self.returncode == 0 and not self.timed_out

    @property
    def output(self) -> str:
        """Both streams for people, stderr last."""
        return "\n".join(text.rstrip() for text in (self.stdout, self.stderr) if text.strip())

    def check(self, problem: str, remedy: str = "") -> Completed:
        """Return itself, or raise StepError `problem` with the output's end."""
        if self.ok:
            return self
        how = "ran into its deadline" if self.timed_out else f"exit code {self.returncode}"
        raise StepError(f"{problem} ({how})", remedy, self.output)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of every child: PATH with the sbin directories, C.UTF-8, HOME, plus `extra`."""
    path = os.environ.get("PATH", "").split(":")
    path += [directory for directory in _SYSTEM_PATH if directory not in path]
    clean = {"PATH": ":".join(filter(None, path)), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "HOME": "/root"}
    return {**clean, **(extra or {})}


def run(
    argv: Sequence[str],
    timeout: float,
    input: bytes | None = None,  # noqa: A002 - subprocess's own word
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> Completed:
    """Run `argv` for at most `timeout` seconds; the deadline kills its whole process group.

    `input` is its stdin (else /dev/null), `env` is added to `environment()`; `options` go to Popen.
    Raises StepError when the program cannot be started, or not be killed.
    """
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    settings: dict[str, Any] = {"cwd": "/", "env": environment(env), **options}
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **settings,
        )
    except OSError as error:
        raise StepError(f"{argv[0]} cannot be started: {error.strerror}") from error
    readers = [_Reader(stream) for stream in (process.stdout, process.stderr) if stream is not None]
    if input is not None and process.stdin is not None:
        threading.Thread(target=_feed, args=(process.stdin, input), daemon=True).start()
    timed_out = _await(process.pid, timeout)
    process.wait()
    stdout, stderr = (reader.text() for reader in readers)
    return Completed(list(argv), process.returncode, stdout, stderr, timed_out)


def _await(pid: int, timeout: float) -> bool:
    """Wait for the leader without reaping it, so its group's number stays its own; True when killed.

    Raises StepError when it outlives that.
    """
    exited = threading.Event()

    def watch() -> None:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        exited.set()

    threading.Thread(target=watch, daemon=True).start()
    if exited.wait(timeout):
        return False
    os.killpg(pid, signal.SIGTERM)
    exited.wait(TERM_GRACE)
    os.killpg(pid, signal.SIGKILL)
    if not exited.wait(KILL_GRACE):
        remedy = "The kernel holds it: look for a disk or a network file system that does not answer"
        raise StepError(f"process {pid} cannot be killed", remedy)
    return True


def _feed(stream: IO[bytes], data: bytes) -> None:
    """Write a child's stdin; a child that closes it early has its own exit code to say so."""
    try:
        with stream:
            stream.write(data)
    except BrokenPipeError:
        return


class _Reader:
    """Reads one stream to its end in a thread and keeps the last OUTPUT_LIMIT bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept = bytearray()
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            for chunk in iter(lambda: os.read(self._stream.fileno(), 65536), b""):
                self._kept += chunk
                if len(self._kept) > 2 * OUTPUT_LIMIT:
                    del self._kept[:-OUTPUT_LIMIT]

    def text(self) -> str:
        """Return what was read once the writer is through."""
        self._thread.join(DRAIN_GRACE)
        return bytes(self._kept[-OUTPUT_LIMIT:]).decode("utf-8", "replace")

"""Progress on stderr while a run goes on: one plain line for each thing done."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import Any, TextIO

from nornir.core.inventory import Host
from nornir.core.task import AggregatedResult, MultiResult, Task

_DIM, _RED, _END = "\x1b[2m", "\x1b[31m", "\x1b[0m"


class Progress:
    """Nornir Processor: `ctl1: restarting nova-conductor (2.1 s)` when a step is done; each host's failure.

    On a terminal also when a step begins, dimmed (no colours with NO_COLOR, https://no-color.org).
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        # Each failure is told here in one line; Nornir's tracebacks come only where someone has set its log up.
        logging.getLogger("nornir").addHandler(logging.NullHandler())
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._lock = threading.Lock()
        self._began: dict[tuple[str, str], float] = {}

    def event(self, host: str, text: str) -> None:
        """Print one line about `host`."""
        self._print(host, text)

    def step(self, host: str, event: dict[str, Any]) -> None:
        """Take in an agent's step event {"step", "status", "reason"}."""
        step, status = str(event.get("step", "")), event.get("status")
        text = str(event.get("reason") or step)
        if status == "doing":
            self._began[host, step] = time.monotonic()
            if self._terminal:
                self._print(host, f"{text} ...", _DIM)
            return
        began = self._began.pop((host, step), None)
        took = "" if began is None else f" ({time.monotonic() - began:.1f} s)"
        if status == "failed":
            self._print(host, f"failed: {text}{took}", _RED)
        else:
            self._print(host, f"{text}{took}")

    def task_started(self, task: Task) -> None:
        """Nothing to say: the steps speak."""

    def task_completed(self, task: Task, result: AggregatedResult) -> None:
        """Nothing to say: the report follows."""

    def task_instance_started(self, task: Task, host: Host) -> None:
        """Nothing to say: the steps speak."""

    def task_instance_completed(self, task: Task, host: Host, result: MultiResult) -> None:  # noqa: ARG002  # Nornir's
        """Print why the host failed, if it did."""
        error = result[0].exception
        if error is not None:
            words = str(error).strip() or type(error).__name__
            self._print("", words if words.startswith(f"{host.name}: ") else f"{host.name}: {words}", _RED)

    def subtask_instance_started(self, task: Task, host: Host) -> None:
        """Nothing to say: the steps speak."""

    def subtask_instance_completed(self, task: Task, host: Host, result: MultiResult) -> None:
        """Nothing to say: the task's end does."""

    def _print(self, host: str, text: str, colour: str = "") -> None:
        if self._quiet:
            return
        line = f"{host}: {text}" if host else text
        if colour and self._colour:
            line = f"{colour}{line}{_END}"
        with self._lock:
            try:
                print(line, file=self._stream, flush=True)  # printing is its job
            except (OSError, ValueError):
                # The reader of a pipe has gone: progress is not worth a half-done run.
                self._quiet = True

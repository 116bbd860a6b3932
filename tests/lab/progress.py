"""Progress on stderr: each step with the seconds since the command began, and signs of life in long ones."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_STARTED = time.monotonic()
_BEAT_SECONDS = 15.0


def say(text: str) -> None:
    """Write one progress line."""
    elapsed = time.monotonic() - _STARTED
    sys.stderr.write(f"[{elapsed:6.1f} s] {text}\n")
    sys.stderr.flush()


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce a long step, repeat it every 15 seconds while it lasts, and say how long it took."""
    say(f"{text} ...")
    started = time.monotonic()
    finished = threading.Event()
    beat = threading.Thread(target=_beat, args=(text, started, finished), daemon=True)
    beat.start()
    try:
        yield
    finally:
        finished.set()
        beat.join()
    say(f"{text}: done in {time.monotonic() - started:.1f} s")


def _beat(text: str, started: float, finished: threading.Event) -> None:
    while not finished.wait(_BEAT_SECONDS):
        say(f"{text}: still at it after {time.monotonic() - started:.0f} s")

"""The controller's end of the agent protocol: requests out, events and answers in, each with a deadline."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paramiko

from deployer.errors import ConnectionLost, DeadlineExceeded, HostError, Locked, StalePlan, StepFailed
from deployer.model.masking import mask
from deployer.nornir_plugins import frames
from deployer.nornir_plugins.boot import start_agent
from deployer.nornir_plugins.bundle import agent_bundle
from deployer.nornir_plugins.link import Link
from deployer.nornir_plugins.target import SILENCE
from deployer.nornir_plugins.watchdog import closed_after

_START = 30.0
_FINISH = 2.0
_PING = frames.encode({"id": 0, "op": "ping"})


class AgentSession:
    """One agent process on one channel of `transport`, started at the first request; `host` names it."""

    def __init__(
        self,
        transport: paramiko.Transport,
        *,
        host: str,
        become: str = "none",
        bundle: bytes | None = None,
        silence: float = SILENCE,
    ) -> None:
        self.host = host
        self.round_trips = 0
        self._transport = transport
        self._become = become
        self._bundle = bundle
        self._silence, self._heartbeat = silence, silence / 4
        self._asking = threading.Lock()
        self._link: Link | None = None
        self._decoder = frames.Decoder()
        self._stop = threading.Event()
        self._last_id = 0

    @property
    def alive(self) -> bool:
        """Whether another request can be made; never true again once false."""
        return not self._stop.is_set() and self._transport.is_active() and (self._link is None or self._link.open)

    def request(
        self,
        op: str,
        args: dict[str, Any],
        *,
        deadline: float,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Return the agent's answer; `deadline` in seconds from now, `on_event` gets each event's object.

        Raises Unreachable (the agent cannot be started), ConnectionLost, DeadlineExceeded, and what the agent
        reports: Locked, StalePlan, StepFailed, HostError. After DeadlineExceeded the agent may still be at
        work; its late answer is dropped.
        """
        with self._asking_alone(op, deadline):
            ends_at = time.monotonic() + deadline
            link = self._link or self._start(deadline)
            self._last_id += 1
            try:
                with closed_after(self._transport, deadline):
                    link.send(frames.encode({"id": self._last_id, "op": op, "args": args}), ends_at)
                    answer = self._answer(link, self._last_id, ends_at, on_event)
            except TimeoutError:
                raise self._late(op, deadline) from None
            except (EOFError, OSError, ValueError) as error:
                raise self._lost(op, link, error) from None
            self.round_trips += 1
        if "error" in answer:
            raise _reported(self.host, answer["error"])
        result: dict[str, Any] = answer["ok"]
        return result

    @contextmanager
    def _asking_alone(self, op: str, deadline: float) -> Iterator[None]:
        """Keep others from asking meanwhile; one who was given up on may still be waiting for its answer."""
        if not self._asking.acquire(timeout=deadline):
            raise self._late(op, deadline)
        try:
            yield
        finally:
            self._asking.release()

    def close(self) -> None:
        """End the session: an idle agent has 2 s to exit and so to free its lock, one at work is cut off."""
        self._stop.set()
        if self._asking.acquire(blocking=False):
            try:
                if self._link is not None and self._link.open:
                    with closed_after(self._transport, _FINISH):
                        self._link.finish(_FINISH)
            finally:
                self._asking.release()
        # Not the channel: closing that under a thread which waits on it would not wake the thread.
        self._transport.close()

    def _start(self, deadline: float) -> Link:
        bundle = agent_bundle() if self._bundle is None else self._bundle
        link = start_agent(
            self._transport,
            host=self.host,
            become=self._become,
            bundle=bundle,
            timeout=min(deadline, _START),
            silence=self._silence,
        )
        self._link = link
        threading.Thread(target=self._beat, args=(link,), name=f"heartbeat {self.host}", daemon=True).start()
        return link

    def _beat(self, link: Link) -> None:
        """Tell the agent from time to time that its controller lives."""
        with contextlib.suppress(OSError, EOFError):
            while not self._stop.wait(self._heartbeat):
                link.send(_PING, time.monotonic() + self._heartbeat)

    def _answer(
        self, link: Link, wanted: int, ends_at: float, on_event: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        """Return the frame that answers request `wanted`; frames of requests given up on are dropped."""
        answer: dict[str, Any] | None = None
        while answer is None:
            for message in self._decoder.feed(link.receive(ends_at)):
                if message.get("id") != wanted:
                    continue
                if "event" not in message:
                    answer = message
                elif on_event is not None:
                    on_event(message["event"])
        return answer

    def _late(self, op: str, deadline: float) -> DeadlineExceeded:
        problem = f"no answer to {op} within {deadline:g} s"
        return DeadlineExceeded(self.host, problem, "It may still be at work: ask again")

    def _lost(self, op: str, link: Link, error: Exception) -> ConnectionLost:
        self._stop.set()
        words = link.noise.rpartition("\n")[2] or (str(error) if isinstance(error, ValueError) else "")
        because = f" ({words})" if words else ""
        return ConnectionLost(
            self.host,
            f"the session ended before {op} was answered{because}",
            "What the host did is unknown until it is asked again",
        )


def _reported(host: str, error: dict[str, Any]) -> HostError:
    """Return the exception for an error frame."""
    # The agent's own mask knows URLs only; what a program printed may hold a secret in other forms.
    problem, remedy = mask(str(error.get("problem", ""))), str(error.get("remedy", ""))
    if error.get("type") == "locked":
        return Locked(host, error.get("holder") or {})
    if error.get("type") == "stale":
        return StalePlan(host, problem, remedy)
    if error.get("type") == "step":
        return StepFailed(host, str(error.get("step", "")), problem, mask(str(error.get("output", ""))), remedy)
    return HostError(host, problem or "the agent failed without a word", remedy)

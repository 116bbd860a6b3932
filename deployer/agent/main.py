"""The agent's loop: one request at a time, until the controller is gone."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from deployer.agent import cells, facts, journal, preflight, probe, queues, router, steps, undo
from deployer.agent.channel import Channel
from deployer.agent.errors import AgentError, RefusedError
from deployer.agent.journal import Journal, state_directory
from deployer.agent.lock import HostLock
from deployer.agent.types import Json, Question

SILENCE = 60.0  # seconds without a byte from the controller after which it counts as dead


def serve(stdin: int, stdout: int, silence: float | None = None) -> None:
    """Serve the controller at the other end of two descriptors until it is gone; ends after the step in hand.

    Must run in the main thread, with nothing read ahead from `stdin`. `silence` is in seconds (default 60, or
    HYBRIDMSG_SILENCE).
    """
    os.umask(0o022)
    channel = Channel(stdin, stdout, silence or float(os.environ.get("HYBRIDMSG_SILENCE") or SILENCE))
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        # A handler, not SIG_IGN: children would inherit that and could not be stopped any more.
        signal.signal(number, lambda _number, _frame: channel.leave())
    agent = Agent(channel, state_directory())
    for request in iter(channel.requests.get, None):
        if channel.gone.is_set():
            return
        agent.handle(request)


class Agent:
    """Answers requests; holds the host's lock from `lock` to the end of its process."""

    def __init__(self, channel: Channel, state: Path) -> None:
        self._channel, self._state = channel, state
        self._lock = HostLock(state)
        self._ops: dict[str, Callable[[Json, steps.Emit], Json]] = {
            "facts": lambda args, _emit: facts.facts(args),
            "lock": self._take_lock,
            "apply": self._apply,
            "undo": self._undo,
            "history": lambda args, _emit: {"runs": journal.history(state, args.get("run"))},
            "probe": lambda args, _emit: {
                "answer": probe.probe(args["interpreter"], args["user"], args["request"], args["timeout"])
            },
            **{
                name: _asking(question)
                for ops in (cells.OPS, preflight.OPS, queues.OPS, router.OPS)
                for name, question in ops.items()
            },
        }

    def handle(self, request: Json) -> None:
        """Carry one request out and answer it, whatever happens."""
        number = request.get("id")
        op = self._ops.get(str(request.get("op")), _unknown)
        try:
            answer = op(request.get("args") or {}, lambda event: self._send(number, event=event))
            self._send(number, ok=answer)
        except AgentError as error:
            self._send(number, error=error.frame())
        except Exception as error:  # noqa: BLE001 - a defect must reach the controller as an answer
            self._send(number, error=_internal(error))

    def _send(self, number: object, **content: Json) -> None:
        self._channel.send({"id": number, **content})

    def _take_lock(self, args: Json, _emit: steps.Emit) -> Json:
        self._lock.take(args)
        return {}

    def _journal(self, run: str) -> Journal:
        self._lock.need()
        opened = Journal(self._state, run)
        opened.begin(self._lock.holder["who"], self._lock.holder["when"])
        return opened

    def _apply(self, args: Json, emit: steps.Emit) -> Json:
        todo = [steps.parse(raw) for raw in args["steps"]]
        return {"results": steps.apply(todo, self._journal(args["run"]), emit, self._channel.gone)}

    def _undo(self, args: Json, emit: steps.Emit) -> Json:
        self._lock.need()
        if not journal.history(self._state, args["run"]):
            raise RefusedError(f"this host has no record of run {args['run']}")
        opened = self._journal(args["run"])
        done = undo.undo(opened, args.get("steps"), emit, self._channel.gone, force=bool(args.get("force")))
        return {"results": done}


def _asking(question: Question) -> Callable[[Json, steps.Emit], Json]:
    return lambda args, _emit: question(args)


def _unknown(_args: Json, _emit: steps.Emit) -> Json:
    raise RefusedError("unknown op", "Controller and agent differ in version")


def _internal(error: Exception) -> Json:
    """Name the defect and its place; not its text, which may quote what it choked on."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = error.strerror if isinstance(error, OSError) else ""
    problem = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno} {reason or ''}".rstrip()
    return {"type": "internal", "problem": problem, "remedy": "Report this defect of hybridmsg"}

"""The agent's loop: one request at a time, until the controller is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from deployer.agent import (
    cells,
    facts,
    faults,
    history,
    preflight,
    probe,
    prune,
    queues,
    router,
    state_files,
    steps,
    undo,
)
from deployer.agent.channel import Channel
from deployer.agent.errors import AgentError, RefusedError
from deployer.agent.journal import Journal, state_directory
from deployer.agent.lock import HostLock
from deployer.agent.types import Json, Question


def serve(stdin: int, stdout: int, silence: float) -> None:
    """Serve the controller at the other end of two descriptors until it is gone; ends after the step in hand.

    Must run in the main thread, with nothing read ahead from `stdin`. After `silence` s without a byte from
    the controller that counts as dead.
    """
    os.umask(0o022)
    _arm_faults()
    channel = Channel(stdin, stdout, silence)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        # A handler, not SIG_IGN: children would inherit that and could not be stopped any more.
        signal.signal(number, lambda _number, _frame: channel.leave())
    with contextlib.closing(Agent(channel, state_directory())) as agent:
        for request in iter(channel.requests.get, None):
            if channel.gone.is_set():
                return
            agent.handle(request)


def _arm_faults() -> None:
    try:
        faults.arm(os.environ, state_directory())
    except RefusedError as error:
        sys.exit(f"hybridmsg: {error.problem} ({error.remedy})")


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
            "record": self._record,
            "history": lambda args, _emit: history.answer(state, args.get("run")),
            "blobs": lambda args, _emit: history.blobs(Journal(state, args["run"]), args["sha256s"]),
            "restore": self._restore,
            "hold": self._hold,
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

    def close(self) -> None:
        """Let go of the host."""
        self._lock.let_go()

    def _take_lock(self, args: Json, _emit: steps.Emit) -> Json:
        was = self._lock.take(args)
        return {"was": was, **history.standing(self._state)}

    def _journal(self, args: Json, emit: steps.Emit) -> Journal:
        self._lock.need()
        opened = Journal(self._state, args["run"], emit)
        opened.begin(self._lock.holder["who"], self._lock.holder["when"], args.get("record"))
        return opened

    def _apply(self, args: Json, emit: steps.Emit) -> Json:
        todo = [steps.parse(raw, args["run"]) for raw in args["steps"]]
        return {"results": steps.apply(todo, self._journal(args, emit), emit, self._channel.gone)}

    def _undo(self, args: Json, emit: steps.Emit) -> Json:
        self._lock.need()
        if not Journal(self._state, args["run"]).exists():
            raise RefusedError(f"this host has no record of run {args['run']}")
        merged, force = undo.parse_merged(args.get("merged") or {}), bool(args.get("force"))
        opened = self._journal(args, emit)
        done = undo.undo(opened, args.get("steps"), emit, self._channel.gone, force=force, merged=merged)
        return {"results": done}

    def _record(self, args: Json, emit: steps.Emit) -> Json:
        self._journal(args, emit)
        limits = args.get("prune")
        try:
            pruned = prune.prune(self._state, args["run"], limits) if limits else []
        except AgentError as error:
            # The record is written: that old runs are kept is told, and is no failure of that.
            return {"pruned": [], "problem": error.problem}
        return {"pruned": pruned, "problem": ""}

    def _restore(self, args: Json, _emit: steps.Emit) -> Json:
        self._lock.need()
        holder = self._lock.holder
        history.restore(Journal(self._state, args["run"]), args, holder["who"], holder["when"])
        return {}

    def _hold(self, args: Json, _emit: steps.Emit) -> Json:
        self._lock.need()
        path = self._state / state_files.HOLD
        before = state_files.told(path)
        state_files.write(path, args["hold"])
        return {"hold": before}


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

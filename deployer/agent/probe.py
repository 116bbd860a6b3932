"""Starts a program of deployer/probe in an interpreter of the host, as a service's user, and returns its answer.

The program and the request go in on stdin (an argv is public and short); the answer is the last line of
stdout that starts with ANSWER_MARK, since the libraries of a service print what they like.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
from importlib import resources
from typing import Any

from deployer.agent.errors import OUTPUT_TAIL, RefusedError, StepError, mask
from deployer.agent.run import run
from deployer.agent.types import Json

ANSWER_MARK = "hybridmsg-probe "
PROBE = "probe.py"
_START = "import sys;n=int(sys.stdin.buffer.readline());exec(compile(sys.stdin.buffer.read(n),'probe','exec'))"


def probe(interpreter: str, user: str, request: Json, timeout: float, name: str = PROBE) -> Json:
    """Return the answer of program `name` to `request`; raises RefusedError with its stderr's end otherwise."""
    if not interpreter.startswith("/") or not os.access(interpreter, os.X_OK):
        raise RefusedError(f"{interpreter} is not an interpreter of this host", "Is the unit installed and running?")
    source = program(name)
    stdin = b"%d\n" % len(source) + source + json.dumps(request).encode() + b"\n"
    options = identity(user)
    try:
        done = run([interpreter, "-I", "-c", _START], timeout, stdin, {"HOME": "/nonexistent"}, **options)
    except StepError as error:
        raise RefusedError(error.problem, "Is the unit installed whole?") from error
    marked = [line for line in done.stdout.splitlines() if line.startswith(ANSWER_MARK)]
    try:
        answer: Json = json.loads(marked[-1][len(ANSWER_MARK) :])
    except (IndexError, ValueError) as error:
        how = f"did not end within {timeout:g} s" if done.timed_out else f"ended with code {done.returncode}"
        tail = mask(done.output)[-OUTPUT_TAIL:]
        raise RefusedError(f"the probe in {interpreter} {how} and gave no answer", stderr=tail) from error
    return answer


def program(name: str = PROBE) -> bytes:
    """Return the source of one of deployer/probe's programs, from the zip that brought the agent."""
    return resources.files("deployer.probe").joinpath(name).read_bytes()


def identity(user: str) -> dict[str, Any]:
    """Return Popen's options that make the child `user` with all its groups; "" is the agent's own user."""
    if not user:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise RefusedError(f"the host has no user {user!r}") from error
    if entry.pw_uid == os.geteuid():
        return {}
    if os.geteuid() != 0:
        raise RefusedError(f"the probe cannot become {user}", "The agent needs root (sudo)")
    groups = sorted({entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if user in group.gr_mem)})
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}

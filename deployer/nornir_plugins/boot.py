"""Starts the agent on a host: one exec channel, no terminal, every known failure named."""

from __future__ import annotations

import re
import secrets
import shlex
import time

import paramiko

from deployer.errors import ConnectionLost, Unreachable
from deployer.nornir_plugins.bundle import BOOT
from deployer.nornir_plugins.link import Link
from deployer.nornir_plugins.watchdog import closed_after

_NOISE_LIMIT = 1 << 16
_INSTALL_PYTHON = "Install python3 (3.9 or newer) on the host, or put it in the PATH that sudo and sshd give"


def start_agent(
    transport: paramiko.Transport, *, host: str, become: str, bundle: bytes, timeout: float, silence: float
) -> Link:
    """Return the streams of an agent that has its code; raises Unreachable, ConnectionLost.

    The agent takes the controller for dead after `silence` s without a byte.
    """
    nonce = secrets.token_hex(8)
    program = ["sudo", "-n"] if become == "sudo" else []
    command = shlex.join([*program, "python3", "-I", "-c", BOOT, nonce, f"{silence:g}"])
    ends_at = time.monotonic() + timeout
    try:
        channel = transport.open_session(timeout=timeout)
        channel.settimeout(timeout)
        with closed_after(transport, timeout):
            channel.exec_command(command)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreachable(
            host,
            f"no program can be started there ({error or 'connection lost'})",
            "Check MaxSessions and ForceCommand of its sshd",
        ) from None
    link = Link(channel)
    _await_marker(link, f"hybridmsg-agent 1 {nonce}\n".encode(), host, ends_at, timeout)
    try:
        link.send(b"%d\n" % len(bundle) + bundle, ends_at)
    except (OSError, EOFError):
        raise ConnectionLost(host, "the session ended while the agent was sent") from None
    return link


def _await_marker(link: Link, marker: bytes, host: str, ends_at: float, timeout: float) -> None:
    """Skip what login shells print; after its marker the agent is silent until asked, so nothing is lost."""
    seen = b""
    try:
        while marker not in seen:
            if len(seen) > _NOISE_LIMIT:
                raise Unreachable(host, "its login shell prints without end", "Correct the user's profile")
            seen += link.receive(ends_at)
    except EOFError:
        problem, remedy = _why(link.noise or seen.decode(errors="replace").strip(), link.exit_status)
        raise Unreachable(host, problem, remedy) from None
    except TimeoutError:
        last = (link.noise or seen.decode(errors="replace")).strip().rpartition("\n")[2]
        raise Unreachable(
            host,
            f"the agent did not start within {timeout:g} s" + (f" (last words: {last})" if last else ""),
            "Check that the user's profile neither waits nor asks",
        ) from None


_NOPASSWD = "Put `USER ALL=(root) NOPASSWD: ALL` (USER the login user) into a file in /etc/sudoers.d"
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"password is required|terminal is required|no tty present|must have a tty",
        "sudo asks for a password",
        _NOPASSWD,
    ),
    (
        r"not in the sudoers|not allowed to (execute|run)|may not run sudo",
        "sudo refuses the login user",
        _NOPASSWD,
    ),
    (
        r"hybridmsg: python [\d.]+ is too old",
        "its python3 is older than 3.9",
        "Install a newer python3 as python3",
    ),
    (
        r"sudo: (command )?not found|sudo: No such file",
        "sudo is not installed",
        "Install sudo, or log in as root with `become: none`",
    ),
    (r"python3: No such file|python3.*not found", "python3 is not installed", _INSTALL_PYTHON),
)


def _why(words: str, status: int | None) -> tuple[str, str]:
    """Return (problem, remedy) from what the host said instead of starting the agent."""
    for pattern, problem, remedy in _CAUSES:
        if re.search(pattern, words):
            return problem, remedy
    last = words.rpartition("\n")[2] or "it said nothing"
    if status == 127:
        return f"python3 is not installed ({last})", _INSTALL_PYTHON
    if last.startswith("sudo:"):
        return f"sudo refuses ({last})", "Allow the login user sudo without a password"
    return (
        f"the agent did not start (exit status {status}: {last})",
        "Try `ssh HOST python3 -V` as the same user",
    )

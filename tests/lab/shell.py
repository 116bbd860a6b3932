"""Run a program of the machine and turn its failure into one readable LabError."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from tests.lab.errors import LabError

_TAIL_LINES = 15


def sh(
    argv: Sequence[str],
    *,
    data: bytes | None = None,
    timeout: float = 60,
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run argv to its end within the deadline; a failure names the command and the end of its output."""
    stdin = subprocess.DEVNULL if data is None else None
    try:
        done = subprocess.run(argv, input=data, stdin=stdin, capture_output=True, timeout=timeout, env=env, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]}: no such program on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv[:4])} ...: no end after {timeout:.0f} s") from error
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv[:6])}: exit {done.returncode}\n{tail(done.stdout + done.stderr)}")
    return done


def tail(output: bytes) -> str:
    """Return the last lines of a program's output, for a message."""
    return "\n".join("    " + line for line in output.decode(errors="replace").splitlines()[-_TAIL_LINES:])

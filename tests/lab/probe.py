"""Wait until services answer: run as a program in the lab's network namespace, where hosts are in reach.

Arguments: seconds, then ADDRESS:PORT for each service. Prints each one as soon as it answers (an SSH server
must show its banner, any other must accept), and exits 1 when the seconds are over before all did.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

_SSH_PORT = 22
_RETRY_SECONDS = 0.1


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return port != _SSH_PORT or connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _wait(target: str, deadline: float, answered: list[str]) -> None:
    address, _, port = target.rpartition(":")
    while not _answers(address, int(port)):
        if time.monotonic() > deadline:
            return
        time.sleep(_RETRY_SECONDS)
    answered.append(target)
    sys.stdout.write(target + "\n")
    sys.stdout.flush()


def _main() -> int:
    deadline = time.monotonic() + float(sys.argv[1])
    targets = sys.argv[2:]
    answered: list[str] = []
    waits = [threading.Thread(target=_wait, args=(target, deadline, answered)) for target in targets]
    for wait in waits:
        wait.start()
    for wait in waits:
        wait.join()
    return int(len(answered) < len(targets))


if __name__ == "__main__":
    sys.exit(_main())

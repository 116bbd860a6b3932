"""The program: qdrouterd -c FILE."""

from __future__ import annotations

import argparse
import selectors
import signal
import socket
import sys
from pathlib import Path

from .config import ConfigError, load
from .journal import Journal
from .management import Management
from .router import Router


def main() -> int:
    """Run the router until it is told to stop; 1 for a configuration that it does not take."""
    parser = argparse.ArgumentParser(prog="qdrouterd", description="Stand-in for qdrouterd: test equipment.")
    parser.add_argument("-c", "--conf", type=Path, default=Path("/etc/qpid-dispatch/qdrouterd.conf"))
    options, _ = parser.parse_known_args()
    journal = Journal()
    try:
        router = Router(load(options.conf), journal)
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        journal.write("ROUTER", "critical", f"Router start-up failed: {options.conf}: {error}")
        return 1
    Management(router)
    _obey_signals(router)
    router.journal.write("ROUTER", "info", f"Router started in {router.settings.text('mode')} mode")
    router.run()
    return 0


def _obey_signals(router: Router) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    # Detached, for the life of the process: a socket nobody holds is closed, and `ours` would be readable for ever.
    signal.set_wakeup_fd(theirs.detach())

    def stop(number: int, frame: object) -> None:
        router.loop.stopped = True

    def deafen(number: int, frame: object) -> None:
        # qdrouterd takes any signal for its last, and ignores all that follow: SIGHUP does nothing but that.
        for deaf in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(deaf, signal.SIG_IGN)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, deafen)

    def drain(events: int) -> None:
        ours.recv(64)

    router.loop.watch(ours, selectors.EVENT_READ, drain)


if __name__ == "__main__":
    sys.exit(main())

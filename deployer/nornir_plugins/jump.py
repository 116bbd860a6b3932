"""One connection to each bastion, shared by all hosts behind it: MaxStartups counts connections."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import paramiko

from deployer.nornir_plugins.dial import dial
from deployer.nornir_plugins.target import Target


@dataclass
class _Bastion:
    opening: threading.Lock = field(default_factory=threading.Lock)
    transport: paramiko.Transport | None = None
    users: int = 0


class Bastions:
    """The open bastions of this process, by login; the first host opens one, the last to leave closes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Target, _Bastion] = {}

    def enter(self, target: Target) -> paramiko.Transport:
        """Return a live transport to the bastion and count one more user; raises Unreachable as dial does."""
        with self._lock:
            bastion = self._open.setdefault(target, _Bastion())
            bastion.users += 1
        try:
            with bastion.opening:
                if bastion.transport is None or not bastion.transport.is_active():
                    bastion.transport = dial(target)
                return bastion.transport
        except BaseException:
            self.leave(target)
            raise

    def leave(self, target: Target) -> None:
        """Count one user less; close the transport when none is left."""
        with self._lock:
            bastion = self._open[target]
            bastion.users -= 1
            if bastion.users:
                return
            del self._open[target]
        if bastion.transport is not None:
            bastion.transport.close()


BASTIONS = Bastions()

"""How a fault gets into an agent: the lab's sudo finds another python3 first, which sets HYBRIDMSG_FAULT."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.lab import Lab

DIRECTORY = "/opt/faults"
_WORDS = f"{DIRECTORY}/words"
_SUDOERS = f'Defaults secure_path="{DIRECTORY}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n'
# sudo's own env_file, and pam_env, take what follows a # in a value for a comment.
_PYTHON = f"""\
#!/bin/sh
[ ! -r {_WORDS} ] || export HYBRIDMSG_FAULT="$(cat {_WORDS})"
exec /usr/bin/python3 "$@"
"""


def install(lab: Lab, hosts: Iterable[str]) -> None:
    """Make hosts ready for faults."""
    for host in hosts:
        lab.run(host, ["mkdir", "-p", DIRECTORY])
        lab.write(host, f"{DIRECTORY}/python3", _PYTHON.encode(), mode=0o755)
        lab.write(host, "/etc/sudoers.d/faults", _SUDOERS.encode(), mode=0o440)


@contextmanager
def fault(lab: Lab, host: str, words: str) -> Iterator[None]:
    """Let every agent that starts on the host meanwhile strike as `words` say (deployer/agent/faults.py)."""
    lab.write(host, _WORDS, words.encode())
    try:
        yield
    finally:
        lab.run(host, ["rm", "-f", _WORDS])

"""The operator's private key: read once a process, every failure named."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from deployer.errors import Unreachable
from deployer.nornir_plugins.target import Target


def load(target: Target) -> paramiko.PKey:
    """Return the key of `target.key_file`, `~` expanded; raises Unreachable when missing or encrypted."""
    file = Path(target.key_file).expanduser()
    try:
        return _read(file, file.stat().st_mtime_ns)
    except FileNotFoundError:
        problem, remedy = f"key file {file} does not exist", "Correct key_file in the inventory"
    except (TypeError, paramiko.PasswordRequiredException):
        # cryptography says TypeError when a passphrase is needed and none is given.
        problem, remedy = (
            f"key file {file} is encrypted",
            "Use a key without a passphrase that only the deployer may read",
        )
    except (ValueError, paramiko.SSHException, UnsupportedAlgorithm):
        problem, remedy = (
            f"key file {file} is not a private key this program can read",
            "Make one with ssh-keygen -t ed25519",
        )
    except OSError as error:
        problem, remedy = (
            f"key file {file} cannot be read: {error.strerror}",
            "Give the deployer's user the right to read it",
        )
    raise Unreachable(target.address, problem, remedy)


@lru_cache(maxsize=16)
def _read(file: Path, mtime_ns: int) -> paramiko.PKey:  # noqa: ARG001  # the key of the cache
    return paramiko.PKey.from_path(file)

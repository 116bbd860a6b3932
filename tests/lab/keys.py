"""Keys: the operator's, and what makes a host itself (SSH host key, machine-id), kept over a reset."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from tests.lab.layout import Layout
from tests.lab.shell import sh

HOST_KEY = "ssh_host_ed25519_key"


def ensure_operator_key(layout: Layout) -> Path:
    """Return the private key that opens every host, made on first use."""
    layout.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _ensure_key(layout.keys / "operator", "hybridmsg-lab")


def ensure_identity(layout: Layout, host: str) -> Path:
    """Return the directory with the host's own key pair and machine-id, made on first use."""
    directory = layout.keys / "hosts" / host
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _ensure_key(directory / HOST_KEY, host)
    machine_id = directory / "machine-id"
    if not machine_id.exists():
        machine_id.write_text(uuid.uuid4().hex + "\n", encoding="ascii")
    return directory


def forget_identity(layout: Layout, host: str) -> None:
    """Delete what made the host itself."""
    shutil.rmtree(layout.keys / "hosts" / host, ignore_errors=True)


def host_public_key(layout: Layout, host: str) -> str:
    """Return the host's public key as a known_hosts line holds it: type and key."""
    text = (ensure_identity(layout, host) / f"{HOST_KEY}.pub").read_text(encoding="ascii")
    return " ".join(text.split()[:2])


def _ensure_key(file: Path, comment: str) -> Path:
    if not (file.exists() and file.with_suffix(".pub").exists()):
        file.unlink(missing_ok=True)
        sh(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)])
    return file

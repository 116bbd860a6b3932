"""Strict host key checking: what known_hosts does not vouch for is refused before any authentication."""

from __future__ import annotations

import paramiko

from deployer.errors import HostKeyRejected
from deployer.nornir_plugins.known_hosts import KnownHosts, KnownKey, fingerprint, lookup_name
from deployer.nornir_plugins.target import Target

# RFC 8332: the key type ssh-rsa signs with either of these.
_RSA_ALGORITHMS = ("rsa-sha2-512", "rsa-sha2-256")


def prefer_known(transport: paramiko.Transport, keys: list[KnownKey]) -> None:
    """Ask the server first for the key types known for it, as OpenSSH does: it may have several keys."""
    options = transport.get_security_options()
    wanted: list[str] = []
    for key in keys:
        wanted.extend(_RSA_ALGORITHMS if key.kind == "ssh-rsa" else (key.kind,))
    known = [kind for kind in options.key_types if kind in wanted]
    options.key_types = known + [kind for kind in options.key_types if kind not in wanted]


def check(shown: paramiko.PKey, target: Target, known: KnownHosts) -> None:
    """Return when known_hosts vouches for the key that the server has shown; raises HostKeyRejected else."""
    blob = shown.asbytes()
    keys = known.keys_for(lookup_name(target.host, target.port))
    if blob in known.revoked:
        raise HostKeyRejected(
            target.address,
            f"host key {fingerprint(blob)} is @revoked in {known.path}; no login attempted",
            "Give the host a new key",
        )
    if any(key.blob == blob for key in keys):
        return
    if keys:
        raise _changed(shown, target, known, keys)
    raise _unknown(shown, target, known)


def _unknown(shown: paramiko.PKey, target: Target, known: KnownHosts) -> HostKeyRejected:
    kind = _scan_type(shown.get_name())
    missing = "" if known.exists else " (the file does not exist)"
    return HostKeyRejected(
        target.address,
        f"host key is unknown: {known.path} has none for {lookup_name(target.host, target.port)}{missing}; "
        f"the host showed {shown.get_name()} {fingerprint(shown.asbytes())}; no login was attempted",
        f"Compare that fingerprint on the host's console (ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub), "
        f"then: ssh-keyscan -p {target.port} -t {kind} {target.host} >> {known.path}",
    )


def _changed(shown: paramiko.PKey, target: Target, known: KnownHosts, keys: list[KnownKey]) -> HostKeyRejected:
    same_type = [key for key in keys if key.kind == shown.get_name()]
    expected = (same_type or keys)[0]
    name = lookup_name(target.host, target.port)
    return HostKeyRejected(
        target.address,
        f"host key has changed: {known.path} line {expected.line} has {expected.kind} "
        f"{fingerprint(expected.blob)} for {name}, "
        f"the host showed {shown.get_name()} {fingerprint(shown.asbytes())}; no login was attempted",
        f"Someone may be in between. If the host was reinstalled, compare the fingerprint on its console, "
        f"then: ssh-keygen -R '{name}' -f {known.path} and add the new key with ssh-keyscan",
    )


def _scan_type(kind: str) -> str:
    """Return the name ssh-keyscan -t and the server's key files use for a key type."""
    if kind.startswith("ecdsa"):
        return "ecdsa"
    return kind.removeprefix("ssh-")

"""Reads known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), each once; looks names up in a dict.

paramiko's own reader compares every line with every other: 5 000 lines take it 3 s.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

SSH_PORT = 22


@dataclass(frozen=True)
class KnownKey:
    """One key of a line: `kind` such as ssh-ed25519, `blob` as sent on the wire, `line` 1-based."""

    kind: str
    blob: bytes
    line: int


@dataclass
class KnownHosts:
    """The keys of one file; `revoked` has the blobs of every @revoked line, for whichever host."""

    path: Path
    exists: bool = True
    revoked: set[bytes] = field(default_factory=set)
    _plain: dict[str, list[KnownKey]] = field(default_factory=dict)
    _hashed: list[tuple[bytes, bytes, KnownKey]] = field(default_factory=list)
    _patterns: list[tuple[list[str], KnownKey]] = field(default_factory=list)

    def keys_for(self, name: str) -> list[KnownKey]:
        """Return the keys known for `name` (see `lookup_name`) in the order of the file."""
        name = name.lower()
        keys = list(self._plain.get(name, ()))
        keys += [key for salt, digest, key in self._hashed if _matches_hash(salt, digest, name)]
        keys += [key for patterns, key in self._patterns if _matches_patterns(patterns, name)]
        return sorted(keys, key=lambda key: key.line)

    def add_line(self, text: str, number: int) -> None:
        """Take in one line; comments, @cert-authority lines and what cannot be read are passed over."""
        words = text.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in {"", "@revoked"}:
            return
        try:
            key = KnownKey(words[1], base64.b64decode(words[2], validate=True), number)
            if marker:
                self.revoked.add(key.blob)
            else:
                self._add_names(words[0], key)
        except binascii.Error:
            return

    def _add_names(self, names: str, key: KnownKey) -> None:
        if names.startswith("|1|"):
            salt, _, digest = names.removeprefix("|1|").partition("|")
            self._hashed.append((base64.b64decode(salt), base64.b64decode(digest), key))
            return
        listed = names.lower().split(",")
        if any(character in names for character in "*?!"):
            self._patterns.append((listed, key))
            return
        for name in listed:
            self._plain.setdefault(name, []).append(key)


def lookup_name(host: str, port: int) -> str:
    """Return the name that known_hosts uses: `host`, or `[host]:port` when the port is not 22."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def fingerprint(blob: bytes) -> str:
    """Return `SHA256:...` of a public key's blob, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def load(path: str | Path) -> KnownHosts:
    """Return the file's keys, read again when it has changed; a missing file has none. Raises OSError."""
    file = Path(path).expanduser()
    try:
        status = file.stat()
    except FileNotFoundError:
        return KnownHosts(file, exists=False)
    return _read(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _read(file: Path, mtime_ns: int, size: int) -> KnownHosts:  # noqa: ARG001  # the key of the cache
    known = KnownHosts(file)
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        known.add_line(line, number)
    return known


def _matches_hash(salt: bytes, digest: bytes, name: str) -> bool:
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _matches_patterns(patterns: list[str], name: str) -> bool:
    if any(pattern.startswith("!") and _matches(pattern[1:], name) for pattern in patterns):
        return False
    return any(_matches(pattern, name) for pattern in patterns if not pattern.startswith("!"))


def _matches(pattern: str, name: str) -> bool:
    # Not fnmatch: to it the brackets of [host]:port are a set of characters.
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None

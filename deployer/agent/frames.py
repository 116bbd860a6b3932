"""Frames: 4 bytes big-endian length, then so many bytes of UTF-8 JSON (docs/architecture.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from deployer.agent.errors import RefusedError

FRAME_LIMIT = 64 * 1024 * 1024  # bytes: far above any request; more is not our protocol but noise
_LENGTH = struct.Struct(">I")


def encode(message: dict[str, Any]) -> bytes:
    """Return `message` as one frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Turns bytes in pieces of any size into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield each message that `data` completes; raises RefusedError on what cannot be a frame."""
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > FRAME_LIMIT:
                raise RefusedError(f"a frame of {length} bytes is not the agent's protocol")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                return
            body = bytes(self._pending[_LENGTH.size : end])
            del self._pending[:end]
            yield _message(body)


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise RefusedError("a frame that is not JSON") from error
    if not isinstance(message, dict):
        raise RefusedError("a frame that is not a JSON object")
    return message

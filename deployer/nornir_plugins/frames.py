"""The agent protocol's frames: 4 bytes big-endian length, then UTF-8 JSON (docs/architecture.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

_LENGTH = struct.Struct(">I")
_LONGEST = 1 << 28


def encode(message: dict[str, Any]) -> bytes:
    """Return one frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Takes bytes as they come and gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield each message that `data` completes; raises ValueError when the bytes are no frames."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > _LONGEST:
                raise ValueError(f"a frame of {length} bytes: something else than the agent writes to its stream")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            message = json.loads(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield message

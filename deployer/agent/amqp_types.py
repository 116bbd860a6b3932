"""The few types of AMQP 1.0 that a SASL login exchanges, read and written (OASIS AMQP 1.0, parts 1.6 and 2.3)."""

from __future__ import annotations

import struct

HEADER_SIZE = 8  # bytes before a frame's body: its size, where the body begins, its type
SASL_FRAME = 1
_FRAME_HEADER = struct.Struct(">IBBxx")
# Bytes of a fixed-width value, by the high digit of its constructor.
_FIXED = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_EMPTY_LIST, _SMALL_ULONG, _LIST32, _BINARY32, _STRING8, _SYMBOL8 = 0x45, 0x53, 0xD0, 0xB0, 0xA1, 0xA3


class MalformedError(ValueError):
    """Bytes that are no AMQP 1.0."""


def sasl_frame(descriptor: int, *fields: bytes) -> bytes:
    """Return a SASL frame whose body is a described list of `fields`, each a value as `symbol` and the like make it."""
    values = b"".join(fields)
    body = struct.pack(">BBBBII", 0, _SMALL_ULONG, descriptor, _LIST32, len(values) + 4, len(fields)) + values
    return _FRAME_HEADER.pack(HEADER_SIZE + len(body), HEADER_SIZE // 4, SASL_FRAME) + body


def symbol(text: str) -> bytes:
    """Return a symbol of at most 255 ASCII characters."""
    return bytes((_SYMBOL8, len(text))) + text.encode("ascii")


def string(text: str) -> bytes:
    """Return a string of at most 255 bytes."""
    content = text.encode()
    return bytes((_STRING8, len(content))) + content


def binary(content: bytes) -> bytes:
    """Return a binary value."""
    return struct.pack(">BI", _BINARY32, len(content)) + content


def frame_sizes(header: bytes, limit: int) -> tuple[int, int]:
    """Return how many bytes follow a SASL frame's header, and how many of them come before its body.

    Raises MalformedError for another kind of frame, and for one of more than `limit` bytes.
    """
    size, offset, kind = _FRAME_HEADER.unpack(header)
    if kind != SASL_FRAME or not HEADER_SIZE <= offset * 4 <= size <= limit:
        raise MalformedError
    return size - HEADER_SIZE, offset * 4 - HEADER_SIZE


def described_list(body: bytes) -> tuple[object, list[object]]:
    """Return the descriptor and the list of a frame's body; raises MalformedError."""
    try:
        if body[0] != 0:
            raise MalformedError
        descriptor, at = _value(body, 1)
        fields, _ = _value(body, at)
    except IndexError as error:
        raise MalformedError from error
    return descriptor, fields if isinstance(fields, list) else []


def _value(data: bytes, at: int) -> tuple[object, int]:
    """Read one value: a number as unsigned, a text as str, a list or an array as list; return where it ends, too."""
    code, at = data[at], at + 1
    kind = code >> 4
    if kind in _FIXED:
        end = at + _FIXED[kind]
        return [] if code == _EMPTY_LIST else int.from_bytes(data[at:end], "big"), end
    width = 1 if kind in (0xA, 0xC, 0xE) else 4
    start = at + width
    end = start + int.from_bytes(data[at:start], "big")
    if end > len(data):
        raise MalformedError
    if kind in (0xA, 0xB):
        return data[start:end].decode("utf-8", "replace"), end
    count = int.from_bytes(data[start : start + width], "big")
    read = _array if kind in (0xE, 0xF) else _list
    return read(data[:end], start + width, count), end


def _list(data: bytes, at: int, count: int) -> list[object]:
    items = []
    for _ in range(count):
        item, at = _value(data, at)
        items.append(item)
    return items


def _array(data: bytes, at: int, count: int) -> list[object]:
    """Read an array: one constructor for all of its values."""
    constructor, rest = data[at : at + 1], data[at + 1 :]
    items = []
    for _ in range(count):
        item, end = _value(constructor + rest, 0)
        items.append(item)
        rest = rest[end - 1 :]
    return items

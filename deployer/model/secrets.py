"""Values that must never be shown: their repr and str say only that they are secret.

The idea is mitogen's `Secret` and `Blob`: Nornir logs task arguments with repr(), and tracebacks print locals, so the
types themselves refuse. `reveal()` is the one way to the value and is greppable.
"""

from __future__ import annotations

import base64


class Secret:
    """A text that is never printed; compare with ==, read with `reveal()`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "[secret]"

    __str__ = __repr__


class Blob:
    """Bytes that may hold secrets (a configuration file): repr shows the length only."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes themselves."""
        return self._value

    def base64(self) -> str:
        """Return the bytes as the agent's protocol carries them."""
        return base64.b64encode(self._value).decode("ascii")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and self._value == other._value

    def __hash__(self) -> int:
        return hash(("Blob", self._value))

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"[blob: {len(self._value)} bytes]"

    __str__ = __repr__

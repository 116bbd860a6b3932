"""The grammar of oslo.config files, line by line: oslo_config/iniparser.py's, held against it by the tests."""

from __future__ import annotations

import codecs
import re

from deployer.errors import FileRefused

_DELIMITER = re.compile("[:=]")
_QUOTES = "\"'"
_LINE_ENDS = frozenset("\r\n\0")


def decode(data: bytes, name: str) -> str:
    """Return the text of the file called `name`; raises FileRefused for what cannot be edited without risk."""
    if data.startswith(codecs.BOM_UTF8):
        raise FileRefused(name, "the file begins with a byte order mark", "Save it as UTF-8 without one", 1)
    for bad, problem in ((rb"\0", "a NUL byte"), (rb"\r(?!\n)", "a carriage return that ends no line")):
        found = re.search(bad, data)
        if found:
            line = data.count(b"\n", 0, found.start()) + 1
            raise FileRefused(name, f"the file holds {problem}", "Save it as plain UTF-8 text", line)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    # Raised out here because UnicodeDecodeError holds the whole file, passwords too: it must not be the context.
    raise FileRefused(name, "the file is not UTF-8", "Save it as UTF-8", line)


def delimiter(line: str) -> int:
    """Return where the key of an assignment ends, -1 when there is no `:` or `=`."""
    found = _DELIMITER.search(line)
    return found.start() if found else -1


def parts(line: str) -> tuple[str, str, str]:
    """Split an assignment's first line into what precedes the value, the value as written, and the rest."""
    start = delimiter(line) + 1
    body = line.rstrip("\r\n")
    value = body[start:].strip()
    start = body.index(value, start) if value else len(body)
    return body[:start], value, body[start + len(value) :]


def is_quoted(written: str) -> bool:
    """Tell whether oslo.config takes the first and last character away: a lone quote is both."""
    return written != "" and written[0] == written[-1] and written[0] in _QUOTES


def quoted(value: str, quote: str = "") -> str:
    """Write a value so that oslo.config reads it back: in the given quotes, in double ones if it must."""
    quote = quote or ('"' if value != value.strip() or is_quoted(value) else "")
    return f"{quote}{value}{quote}"


def group(name: str) -> str:
    """Return the name by which oslo.config compares groups (cfg._normalize_group_name)."""
    return name if name == "DEFAULT" else name.lower()


def check(section: str, key: str, value: str) -> None:
    """Raise ValueError, without the value, unless one line can hold the key and the value."""
    if not section or set(section) & _LINE_ENDS:
        raise ValueError(f"{section!r} cannot be a section's name")
    if not key or key != key.strip() or key[0] in "[#;" or set(key) & {":", "=", *_LINE_ENDS}:
        raise ValueError(f"{key!r} cannot be a key")
    if set(value) & _LINE_ENDS or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the value for [{section}] {key} holds a line end, a NUL or half a surrogate pair")

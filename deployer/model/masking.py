"""Masks secrets in text that people see: configuration, diffs of it, and what programs print.

In doubt it masks more than it must: a URL whose password holds unencoded characters loses its hosts too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MASK = "***"
CHANGED = "  (secret changed)"

_TELLING = (
    r"(?:[\w.-]{0,80}(?:passw|passphrase|secret|token|credential|cookie|hash_path_)[\w.-]{0,80}"
    r"|[\w.-]{0,80}pass|[\w.-]{1,80}_keys?|kek)(?<!_file)(?<!_path)(?<!_dir)"
)
_TELLING_NAME = re.compile(_TELLING, re.IGNORECASE)
_ASSIGNMENT = re.compile(
    r"(?P<head>[#;\s]*[\"']?(?P<key>[\w.-]+)[\"']?\s*[=:](?!//)\s*)"
    r"(?P<value>\S(?:.*\S)?)(?P<tail>\s*)",
    re.DOTALL,
)
_INLINE = re.compile(
    rf"(?P<head>(?<![\w.-]){_TELLING}[\\\"']*\s*[=:]\s*)"
    r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s*]\S*)",
    re.IGNORECASE,
)
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"
_URL_IN_TEXT = re.compile(rf"({_SCHEME})(\S+)")
# A value is one URL to its end, for an unencoded password may hold blanks and even what looks like the next URL.
_URL_AS_VALUE = re.compile(rf"({_SCHEME})(.+)", re.DOTALL)
_LOGIN = re.compile(r"([^@:/,?#\s]*):([^@:/,?#\s]*)@")
_LOGINS = re.compile(rf"(?:{_LOGIN.pattern}[^@/,?#\s]+,)*{_LOGIN.pattern}")
_DIFF = re.compile(r"^(?:@@ |[+-]\s*[\w#;\[\"'])", re.MULTILINE)


@dataclass(frozen=True)
class MaskedLine:
    """A line fit for people; `key` and the secrets behind its masks only serve to tell a change."""

    text: str
    key: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)


def mask(text: str) -> str:
    """Return the text with its secrets masked; in a diff, a line whose secret changed says so."""
    lines = split_lines(text)
    if _DIFF.search(text):
        return "".join(mark_changes(_mask_diff(lines)))
    return "".join(line.text for line in mask_lines(lines))


def split_lines(text: str) -> list[str]:
    """Split at newlines only, which stay at the lines' ends."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def mask_lines(lines: Iterable[str]) -> Iterator[MaskedLine]:
    """Mask each line of one text, in order; a masked value's continuation lines and private keys go whole."""
    above, in_private_key = MaskedLine(""), False
    for line in lines:
        if in_private_key or re.search("-----BEGIN .*PRIVATE KEY-----", line):
            in_private_key = "-----END" not in line
            yield _hidden(line, "")
        elif above.secrets and _indent(line) > _indent(above.text):
            yield _hidden(line, above.key)
        else:
            above = _mask_line(line)
            yield above


def mark_changes(diff: Iterable[tuple[str, MaskedLine]]) -> Iterator[str]:
    """Put the diff's marks (`-`, `+`, a blank or nothing) before its lines; say where a secret changed."""
    removed: dict[str, list[MaskedLine]] = {}
    for mark, line in diff:
        text = line.text
        if mark == "-":
            removed.setdefault(line.key, []).append(line)
        elif mark != "+":
            removed.clear()
        elif line.secrets and removed.get(line.key) and _differs(removed[line.key].pop(0), line):
            body = text.rstrip("\r\n")
            text = body + CHANGED + text[len(body) :]
        yield mark + text


def _differs(old: MaskedLine, new: MaskedLine) -> bool:
    if old.text == new.text:
        return old.secrets != new.secrets
    return bool(old.secrets) and set(old.secrets) != set(new.secrets)


def _mask_diff(lines: list[str]) -> list[tuple[str, MaskedLine]]:
    """Mask the old and the new text each by itself: a continuation belongs to the key above it there."""
    marked = [(line[0], line[1:]) if line[0] in "+- " else ("", line) for line in lines]
    old = mask_lines(body for mark, body in marked if mark != "+")
    new = mask_lines(body for mark, body in marked if mark != "-")
    result = []
    for mark, _ in marked:
        sides = [next(side) for side, skipped in ((old, "+"), (new, "-")) if mark != skipped]
        result.append((mark, next((line for line in sides if line.secrets), sides[0])))
    return result


def _mask_line(line: str) -> MaskedLine:
    secrets: list[str] = []
    found = _ASSIGNMENT.fullmatch(line)
    if not found:
        return MaskedLine(_mask_text(line, _URL_IN_TEXT, secrets), "", tuple(secrets))
    head, key, value, tail = found.group("head", "key", "value", "tail")
    if _TELLING_NAME.fullmatch(key):
        return MaskedLine(f"{head}{MASK}{tail}", key, (value,))
    urls = _URL_AS_VALUE if re.match(rf"[\"']?{_SCHEME}", value) else _URL_IN_TEXT
    return MaskedLine(f"{head}{_mask_text(value, urls, secrets)}{tail}", key, tuple(secrets))


def _mask_text(text: str, urls: re.Pattern[str], secrets: list[str]) -> str:
    def url(found: re.Match[str]) -> str:
        return found[1] + _mask_logins(found[2], secrets)

    def inline(found: re.Match[str]) -> str:
        secrets.append(found["value"])
        return found["head"] + MASK

    return _INLINE.sub(inline, urls.sub(url, text))


def _mask_logins(rest: str, secrets: list[str]) -> str:
    """Mask what stands before the last @ of a URL without its scheme; oslo.messaging splits there too."""
    logins, at, place = rest.rpartition("@")
    first = re.split("[/?#]", logins, maxsplit=1)[0]
    if not at or (first != logins and not set(first) & set(":@")):
        return rest
    if _LOGINS.fullmatch(f"{logins}@"):
        secrets.extend(login[2] for login in _LOGIN.finditer(f"{logins}@"))
        return _LOGIN.sub(rf"\1:{MASK}@", f"{logins}@") + place
    secrets.append(logins)
    user, colon, _ = first.partition(":")
    return f"{user}:{MASK}@{place}" if colon and not set(user) & set("@,") else f"{MASK}@{place}"


def _hidden(line: str, key: str) -> MaskedLine:
    value = line.strip()
    return MaskedLine(line.replace(value, MASK) if value else line, key, (value,))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t")) if line.strip() else 0

"""The unified diff of a file as people may see it: secrets masked, their change still visible."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from deployer.model.masking import MaskedLine, mark_changes, mask_lines, split_lines

CONTEXT_LINES = 3
_WHOLLY_SECRET = re.compile(r"\.erlang\.cookie|sasldb2?|\.key")


def unified_diff(path: str, before: bytes | None, after: bytes | None) -> str:
    """Return the diff in GNU's unified format; None is an absent file, equal contents give no text."""
    if before == after:
        return ""
    names = ["/dev/null" if content is None else path for content in (before, after)]
    header = f"--- {names[0]}\n+++ {names[1]}\n"
    hidden = _not_shown(path, (before or b"") + (after or b""))
    if hidden:
        return f"{header}Contents not shown: {hidden}\n"
    old, new = (split_lines((content or b"").decode("utf-8", "backslashreplace")) for content in (before, after))
    return header + "".join(_hunks(old, new))


def _not_shown(path: str, content: bytes) -> str:
    if re.search(rf"(?:{_WHOLLY_SECRET.pattern})\Z", path):
        return "the whole file is a secret"
    return "binary" if b"\0" in content else ""


def _hunks(old: list[str], new: list[str]) -> Iterator[str]:
    # Compared as they are but shown masked: else a change of nothing but a password would not show.
    masked_old, masked_new = list(mask_lines(old)), list(mask_lines(new))
    for group in difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT_LINES):
        (_, old_start, _, new_start, _), (_, _, old_stop, _, new_stop) = group[0], group[-1]
        yield f"@@ -{_range(old_start, old_stop)} +{_range(new_start, new_stop)} @@\n"
        lines: list[tuple[str, MaskedLine]] = []
        for tag, i, j, k, m in group:
            if tag == "equal":
                lines += [(" ", line) for line in masked_old[i:j]]
                continue
            lines += [("-", line) for line in masked_old[i:j]]
            lines += [("+", line) for line in masked_new[k:m]]
        yield from (_ended(line) for line in mark_changes(lines))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _range(start: int, stop: int) -> str:
    """Write a range of lines as difflib does: the first line 1-based, and the count unless it is one."""
    count = stop - start
    if count == 1:
        return str(start + 1)
    return f"{start + 1 if count else start},{count}"

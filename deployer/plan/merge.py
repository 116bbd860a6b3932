"""A file that somebody changed after a run goes back: the options that the run set, and nothing else. Pure.

The run's lines are taken back as they were, comments and places included, where what stands around them is unchanged;
else option by option, by the editor of oslo.config files. Either way the result is held to the options it must have.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from deployer.errors import FileRefused
from deployer.ini import IniFile
from deployer.model.masking import CHANGED, mask

Option = tuple[str, str]
Values = Mapping[Option, list[str]]
"""The values of each option, by section and key: several where it is repeated, none where it is not set."""


@dataclass(frozen=True)
class Conflict:
    """An option that the run set and that somebody set to something else since; as a text its secrets are masked."""

    section: str
    key: str
    was: tuple[str, ...] = field(repr=False)
    left: tuple[str, ...] = field(repr=False)
    now: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        was, left, now = (_shown(self.key, values) for values in (self.was, self.left, self.now))
        secret = CHANGED if now in (was, left) else ""
        return f"[{self.section}] {self.key} was {was}, the run left {left}, is {now}{secret}"


@dataclass(frozen=True)
class Merged:
    """What a file is to be (None: absent), the edits of others that stay in it, a masked line each, and conflicts.

    Where there are conflicts, `content` has the values of before the run if that was forced, else those of now.
    """

    content: bytes | None = field(repr=False)
    kept: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def merge_back(path: str, before: bytes | None, left: bytes, now: bytes, *, force: bool = False) -> Merged:
    """Take what a run did to a file (`before` to `left`) back out of what it is `now`.

    Raises FileRefused for content that is no oslo.config file, and for a value that cannot be put back by itself.
    """
    if now in (left, before):
        return Merged(before)
    was, ours, theirs = (_values(path, content) for content in (before or b"", left, now))
    differing = [option for option in {**was, **ours} if was.get(option) != ours.get(option)]
    conflicts = tuple(
        Conflict(*option, *(tuple(values.get(option, ())) for values in (was, ours, theirs)))
        for option in differing
        if theirs.get(option) not in (was.get(option), ours.get(option))
    )
    disputed = {(one.section, one.key) for one in conflicts}
    back = {
        option: was.get(option, [])
        for option in differing
        if theirs.get(option) != was.get(option) and (force or option not in disputed)
    }
    content = _options_back(path, _lines_back(before or b"", left, now), now, back) if back else now
    if before is None and _is_bare(content):
        return Merged(None, (), conflicts)
    kept = tuple(_kept(ours, theirs, set(differing)))
    if not kept and content != before and (force or not conflicts):
        kept = ("comments, blank lines or the order of options",)
    return Merged(content, kept, conflicts)


def _options_back(path: str, lines: bytes, now: bytes, back: Values) -> bytes:
    """Return the file of `now` with the options of `back` set, its `lines` put back where that comes to the same."""
    by_options = {**_values(path, now), **back}
    # Lines alone may belong to another section by now, or to none.
    with suppress(FileRefused):
        content = _set(path, lines, back)
        if _values(path, content) == {option: values for option, values in by_options.items() if values}:
            return content
    return _set(path, now, back)


def _set(path: str, text: bytes, back: Values) -> bytes:
    ini = IniFile.parse(text, path)
    for (section, key), values in back.items():
        if ini.get_all(section, key) != values:
            if any("\n" in value for value in values):
                problem = f"[{section}] {key} had a value of several lines, and what stands there was changed since"
                raise FileRefused(path, problem, "Put it back by hand, or roll back with --force")
            ini.set_all(section, key, values)
    return ini.render()


def _lines_back(before: bytes, left: bytes, now: bytes) -> bytes:
    """Return `now` with the lines that the run changed as they were, where they are as the run left them."""
    # The last line of a file may lack its end, which it gets as soon as somebody adds another.
    eol = b"\r\n" if now.partition(b"\n")[0].endswith(b"\r") else b"\n"
    whole = (text if not text or text.endswith(b"\n") else text + eol for text in (before, left, now))
    old, ours, theirs = (text.splitlines(keepends=True) for text in whole)
    blocks = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
    places = {block.a + offset: block.b + offset for block in blocks for offset in range(block.size)}
    hunks = difflib.SequenceMatcher(None, ours, old, autojunk=False).get_opcodes()
    result = list(theirs)
    for tag, start, stop, first, last in reversed(hunks):
        place = _place(places, start, stop)
        if tag != "equal" and place is not None:
            result[place : place + stop - start] = old[first:last]
    return b"".join(result) if now.endswith(b"\n") else b"".join(result).removesuffix(eol)


def _place(places: Mapping[int, int], start: int, stop: int) -> int | None:
    """Return where the lines from `start` to before `stop` stand together now, or, of none, where they would."""
    if start == stop:
        return places[start - 1] + 1 if start - 1 in places else places.get(start, None if start else 0)
    first = places.get(start)
    together = first is not None and all(places.get(line) == first + line - start for line in range(start, stop))
    return first if together else None


def _values(path: str, content: bytes) -> dict[Option, list[str]]:
    ini = IniFile.parse(content, path)
    return {option: ini.get_all(*option) for option in ini.options()}


def _kept(ours: Values, theirs: Values, differing: Collection[Option]) -> Iterator[str]:
    """Yield each option that somebody else set or unset since, as people may see it."""
    for option in {**ours, **theirs}:
        if option not in differing and ours.get(option) != theirs.get(option):
            section, key = option
            yield f"[{section}] {key} is {_shown(key, theirs.get(option, ()))}"


def _is_bare(content: bytes) -> bool:
    """Whether there is nothing in a file but headers of sections."""
    return all(not line.strip() or line.startswith(b"[") for line in content.splitlines())


def _shown(key: str, values: Collection[str]) -> str:
    """Return an option's values in one line, masked."""
    if not values:
        return "not set"
    # Masked with the key, which tells of most secrets that they are one.
    lines = [mask(f"{key} = {' '.join(value.split())}").removeprefix(f"{key} = ") for value in values]
    return ", ".join(line or "empty" for line in lines)

"""Editor of oslo.config files that changes the lines it is told to and no other byte.

The grammar is that of oslo.config's iniparser: `#` and `;` open a comment in the first column only, every
indented line continues the value above it, a key or a section may come several times, and `$name` is left as
it stands. ConfigUpdater holds the file as blocks of raw lines: sections with options, and what stands between them.
Its own reader follows configparser, to which indented comments and repeated keys mean something else.
"""

from __future__ import annotations

import io
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from configupdater import Comment, ConfigUpdater, Option, Section, Space

from deployer import ini_lines
from deployer.errors import FileRefused

_Block = Section | Option | Comment | Space
_FIX_GRAMMAR = "oslo.config itself refuses this file: repair the line first"


class IniFile:
    """One configuration file; every read is of logical values, every edit is of the raw lines behind them."""

    def __init__(self, document: ConfigUpdater, eol: str) -> None:
        self._document = document
        self._eol = eol
        self._sections: dict[str, list[Section]] = defaultdict(list)
        self._options: dict[tuple[str, str], list[Option]] = defaultdict(list)
        for section in document.iter_sections():
            group = ini_lines.group(section.name)
            self._sections[group].append(section)
            for option in section.iter_options():
                self._options[group, option.raw_key].append(option)

    @classmethod
    def parse(cls, data: bytes, name: str) -> IniFile:
        """Read the bytes of the file called `name`; raises FileRefused for what oslo.config does not read."""
        text = ini_lines.decode(data, name)
        eol = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
        return cls(_Reader(name).read(io.StringIO(text, newline="\n")), eol)

    def get_all(self, section: str, key: str) -> list[str]:
        """Return the key's values in effective order: unquoted, continuation lines joined with newlines."""
        return [_value(option) for option in self._found(section, key)]

    def get(self, section: str, key: str) -> str | None:
        """Return the value that wins for a scalar option (the last one), None when the key is absent."""
        found = self._found(section, key)
        return _value(found[-1]) if found else None

    def line_of(self, section: str, key: str) -> int | None:
        """Return the 1-based number of the line on which the winning occurrence begins, None when absent."""
        found = self._found(section, key)
        if not found:
            return None
        above = itertools.takewhile(lambda block: block is not found[-1], self._blocks())
        return 1 + sum(len(block.lines) for block in above)

    def options(self) -> Iterator[tuple[str, str]]:
        """Yield section and key of every option in the order of the file, of a repeated one each time."""
        for section in self._document.iter_sections():
            for option in section.iter_options():
                yield ini_lines.group(section.name), option.raw_key

    def set(self, section: str, key: str, value: str) -> None:
        """Make `value` win; raises ValueError for a section, key or value that no single line can hold."""
        found = self._found(section, key)
        if found and _value(found[-1]) == value:
            return
        ini_lines.check(section, key, value)
        if found:
            _replace(found[-1], value)
        else:
            self._insert(*self._place(section, key), key, value)

    def set_all(self, section: str, key: str, values: list[str]) -> None:
        """Make `values` the values of a MultiStrOpt, a line each; [] unsets. Raises ValueError as `set`."""
        found = self._found(section, key)
        if [_value(option) for option in found] == values:
            return
        for value in values:
            ini_lines.check(section, key, value)
        for option in found[len(values) :]:
            del option.section.structure[_index(option)]
        del found[len(values) :]
        for option, value in zip(found, values, strict=False):
            if _value(option) != value:
                _replace(option, value)
        for value in values[len(found) :]:
            place = (found[-1].section, _index(found[-1]) + 1) if found else self._place(section, key)
            self._insert(*place, key, value)

    def unset(self, section: str, key: str) -> None:
        """Remove every occurrence of the key with its continuation lines; comments and the section stay."""
        for option in self._options.pop((ini_lines.group(section), key), ()):
            del option.section.structure[_index(option)]

    def render(self) -> bytes:
        """Return the file's bytes as they now are."""
        return str(self._document).encode()

    def _found(self, section: str, key: str) -> list[Option]:
        """Return the occurrences, in the order of the file."""
        return self._options[ini_lines.group(section), key]

    def _blocks(self) -> Iterator[_Block]:
        for block in self._document.iter_blocks():
            yield block
            if isinstance(block, Section):
                yield from block.iter_blocks()

    def _place(self, section: str, key: str) -> tuple[Section, int]:
        """Return where a person would put a new key: the section and the index among its blocks."""
        sections = self._sections[ini_lines.group(section)] or [self._new_section(section)]
        default = re.compile(rf"^[#;]{re.escape(key)}\s*[=:]", re.MULTILINE)
        for part in reversed(sections):
            for index, block in _backwards(part, Comment):
                if found := list(default.finditer(str(block))):
                    return part, _split(part, index, str(block).count("\n", 0, found[-1].start()) + 1)
        for part in reversed(sections):
            for index, _ in _backwards(part, Option):
                return part, index + 1
        return sections[0], 0

    def _insert(self, section: Section, index: int, key: str, value: str) -> None:
        """Add an option behind those of its name that are there already."""
        above = section.structure[index - 1] if index else section
        self._end_line(above)
        neighbour = above.lines[-1] if isinstance(above, Comment) else above.lines[0]
        delimiter = "=" if re.match(r"[^:=\s]+=\S", neighbour) else " = "
        line = f"{key}{delimiter}{ini_lines.quoted(value)}".rstrip(" ") + self._eol
        option = Option(key, container=section, line=line)
        section.structure.insert(index, option)
        self._found(section.name, key).append(option)

    def _new_section(self, name: str) -> Section:
        section = Section(name, container=self._document)
        section.lines.append(f"[{name}]{self._eol}")
        blocks = [section, *self._blocks()]
        self._end_line(blocks[-1])
        if blocks[-1].lines[-1].strip() and len(blocks) > 1:
            _comment(self._document).lines.append(self._eol)
        self._document.append(section)
        self._sections[ini_lines.group(name)].append(section)
        return section

    def _end_line(self, block: _Block) -> None:
        """Give the last line of a file the end of line it may lack, before something follows it."""
        if not block.lines[-1].endswith("\n"):
            block.lines[-1] += self._eol


class _Reader:
    """Reads lines into blocks as oslo_config/iniparser.py does; a Comment holds blank lines too."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._document = ConfigUpdater()
        self._section: Section | None = None
        self._open: Option | None = None

    def read(self, lines: Iterable[str]) -> ConfigUpdater:
        """Return the document; raises FileRefused at the first line that oslo.config refuses."""
        notes: list[str] = []
        for number, line in enumerate(lines, 1):
            if line[0] in "#;" or not line.strip():
                if not notes:
                    self._open = None
                    notes = _comment(self._document if self._section is None else self._section).lines
                notes.append(line)
                continue
            if notes:
                notes = []
            problem = self._line(line)
            if problem:
                raise FileRefused(self._name, problem, _FIX_GRAMMAR, number)
        return self._document

    def _line(self, line: str) -> str:
        """Take one line in; return what is wrong with it, or nothing. The line itself may hold a secret."""
        if line[0] in " \t":
            return self._continuation(line)
        if line[0] == "[":
            return self._header(line)
        return self._assignment(line)

    def _continuation(self, line: str) -> str:
        if self._open is None:
            return "an indented line continues nothing"
        self._open.lines.append(line)
        return ""

    def _header(self, line: str) -> str:
        header = line.rstrip()
        if not header.endswith("]"):
            return "a section header does not end with ]"
        if len(header) <= len("[]"):
            return "a section header has no name"
        self._open = None
        self._section = Section(header[1:-1], container=self._document)
        self._section.lines.append(line)
        self._document.append(self._section)
        return ""

    def _assignment(self, line: str) -> str:
        delimiter = ini_lines.delimiter(line)
        key = line[:delimiter].strip()
        if delimiter < 0:
            return "a line is neither a section, a comment nor `key = value`"
        if not key:
            return "a line has a value but no key"
        if self._section is None:
            return "a key stands before the first section"
        self._open = Option(key, container=self._section, line=line)
        self._section.structure.append(self._open)
        return ""


def _comment(container: Section | ConfigUpdater) -> Comment:
    comment = Comment(container)
    container.structure.append(comment)
    return comment


def _backwards(section: Section, kind: type[_Block]) -> Iterator[tuple[int, _Block]]:
    for index in range(len(section.structure) - 1, -1, -1):
        block = section.structure[index]
        if isinstance(block, kind):
            yield index, block


def _split(section: Section, index: int, count: int) -> int:
    """Divide a block of comments after `count` lines; return the index behind its first part."""
    block = section.structure[index]
    if block.lines[count:]:
        rest = Comment(section)
        rest.lines[:] = block.lines[count:]
        del block.lines[count:]
        section.structure.insert(index + 1, rest)
    return index + 1


def _index(option: Option) -> int:
    # By identity: equal lines of a repeated key are different blocks, which ConfigUpdater 3 and 4.0 mix up.
    return next(index for index, block in enumerate(option.section.structure) if block is option)


def _value(option: Option) -> str:
    written = ini_lines.parts(option.lines[0])[1]
    first = written[1:-1] if ini_lines.is_quoted(written) else written
    return "\n".join([first, *(line.strip() for line in option.lines[1:])])


def _replace(option: Option, value: str) -> None:
    """Put a value in place of the one written; the delimiter, its spacing, quotes and end of line stay."""
    before, written, after = ini_lines.parts(option.lines[0])
    if not written and re.search(r"\s[:=]\Z", before):
        before += " "
    quote = written[0] if ini_lines.is_quoted(written) and len(written) > 1 else ""
    eol = re.search(r"\r?\n?\Z", option.lines[-1])
    option.lines[:] = [f"{before}{ini_lines.quoted(value, quote)}{after}{eol.group() if eol else ''}"]

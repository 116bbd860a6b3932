"""Editor of oslo.config files that changes the lines it is told to and no other byte.

The grammar is that of oslo.config's iniparser: `#` and `;` open a comment in the first column only, every
indented line continues the value above it, a key or a section may come several times, and `$name` is left as
it stands. ConfigUpdater holds the file as blocks of raw lines: sections with options, comments, blank lines.
Its own reader follows configparser, to which indented comments and repeated keys mean something else.
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator

from configupdater import Comment, ConfigUpdater, Option, Section, Space

from deployer.errors import FileRefused

_Block = Section | Option | Comment | Space
_FIX_GRAMMAR = "oslo.config itself refuses this file: repair the line first"
_QUOTES = "\"'"
_LINE_ENDS = frozenset("\r\n\0")


class IniFile:
    """One configuration file; every read is of logical values, every edit is of the raw lines behind them."""

    def __init__(self, document: ConfigUpdater, eol: str) -> None:
        self._document = document
        self._eol = eol

    @classmethod
    def parse(cls, data: bytes, name: str) -> IniFile:
        """Read the bytes of the file called `name`; raises FileRefused for what oslo.config does not read."""
        text = _decode(data, name)
        lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        eol = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        return cls(_Reader(name).read(lines), eol)

    def get_all(self, section: str, key: str) -> list[str]:
        """Return the key's values in effective order: unquoted, continuation lines joined with newlines."""
        return [_value(option) for option in self._options(section, key)]

    def get(self, section: str, key: str) -> str | None:
        """Return the value that wins for a scalar option (the last one), None when the key is absent."""
        values = self.get_all(section, key)
        return values[-1] if values else None

    def line_of(self, section: str, key: str) -> int | None:
        """Return the 1-based number of the line on which the winning occurrence begins, None when absent."""
        found = self._options(section, key)
        if not found:
            return None
        above = itertools.takewhile(lambda block: block is not found[-1], self._blocks())
        return 1 + sum(len(block.lines) for block in above)

    def options(self) -> Iterator[tuple[str, str]]:
        """Yield section and key of every option in the order of the file, of a repeated one each time."""
        for section in self._document.iter_sections():
            for option in section.iter_options():
                yield _group(section.name), option.raw_key

    def set(self, section: str, key: str, value: str) -> None:
        """Make `value` win; raises ValueError for a section, key or value that no single line can hold."""
        found = self._options(section, key)
        if found and _value(found[-1]) == value:
            return
        _check(section, key, value)
        if found:
            _replace(found[-1], value)
        else:
            self._insert(*self._place(section, key), key, value)

    def set_all(self, section: str, key: str, values: list[str]) -> None:
        """Make `values` the values of a MultiStrOpt, a line each; [] unsets. Raises ValueError as `set`."""
        if self.get_all(section, key) == values:
            return
        for value in values:
            _check(section, key, value)
        found = self._options(section, key)
        for option in found[len(values) :]:
            del option.section.structure[_index(option)]
        for option, value in zip(found, values, strict=False):
            if _value(option) != value:
                _replace(option, value)
        for value in values[len(found) :]:
            place = (found[-1].section, _index(found[-1]) + 1) if found else self._place(section, key)
            found.append(self._insert(*place, key, value))

    def unset(self, section: str, key: str) -> None:
        """Remove every occurrence of the key with its continuation lines; comments and the section stay."""
        for option in self._options(section, key):
            del option.section.structure[_index(option)]

    def render(self) -> bytes:
        """Return the file's bytes as they now are."""
        return str(self._document).encode()

    def _sections(self, name: str) -> list[Section]:
        wanted = _group(name)
        return [section for section in self._document.iter_sections() if _group(section.name) == wanted]

    def _options(self, section: str, key: str) -> list[Option]:
        found = self._sections(section)
        return [option for part in found for option in part.iter_options() if option.raw_key == key]

    def _blocks(self) -> Iterator[_Block]:
        for block in self._document.iter_blocks():
            yield block
            if isinstance(block, Section):
                yield from block.iter_blocks()

    def _place(self, section: str, key: str) -> tuple[Section, int]:
        """Return where a person would put a new key: the section and the index among its blocks."""
        sections = self._sections(section) or [self._new_section(section)]
        default = re.compile(rf"[#;]{re.escape(key)}\s*[=:]")
        commented, options = [], []
        for part in sections:
            for below, block in enumerate(part.structure, 1):
                if isinstance(block, Option):
                    options.append((part, below))
                elif default.match(block.lines[0]):
                    commented.append((part, below))
        return (commented or options or [(sections[0], 0)])[-1]

    def _insert(self, section: Section, index: int, key: str, value: str) -> Option:
        above = section.structure[index - 1] if index else section
        self._end_line(above)
        delimiter = "=" if re.match(r"[^:=\s]+=\S", above.lines[0]) else " = "
        option = _option(section, f"{key}{delimiter}{_quoted(value)}".rstrip(" ") + self._eol)
        section.structure.insert(index, option)
        return option

    def _new_section(self, name: str) -> Section:
        section = Section(name, container=self._document)
        section.lines.append(f"[{name}]{self._eol}")
        blocks = list(self._blocks())
        if blocks:
            self._end_line(blocks[-1])
        if blocks and blocks[-1].lines[-1].strip():
            _append(self._document, Space(), self._eol)
        self._document.append(section)
        return section

    def _end_line(self, block: _Block) -> None:
        """Give the last line of a file the end of line it may lack, before something follows it."""
        if not block.lines[-1].endswith("\n"):
            block.lines[-1] += self._eol


class _Reader:
    """Reads lines into blocks as oslo_config/iniparser.py does; a Comment or Space block holds one line."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._document = ConfigUpdater()
        self._section: Section | None = None
        self._open: Option | None = None

    def read(self, lines: list[str]) -> ConfigUpdater:
        """Return the document; raises FileRefused at the first line that oslo.config refuses."""
        for number, line in enumerate(lines, 1):
            problem = self._line(line)
            if problem:
                raise FileRefused(self._name, problem, _FIX_GRAMMAR, number)
        return self._document

    def _line(self, line: str) -> str:
        """Take one line in; return what is wrong with it, or nothing. The line itself may hold a secret."""
        if not line.strip():
            return self._note(Space(), line)
        if line[0] in " \t":
            return self._continuation(line)
        if line[0] == "[":
            return self._header(line)
        if line[0] in "#;":
            return self._note(Comment(), line)
        return self._assignment(line)

    def _note(self, block: Comment | Space, line: str) -> str:
        self._open = None
        _append(self._document if self._section is None else self._section, block, line)
        return ""

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
        delimiter = _delimiter(line)
        if delimiter < 0:
            return "a line is neither a section, a comment nor `key = value`"
        if not line[:delimiter].strip():
            return "a line has a value but no key"
        if self._section is None:
            return "a key stands before the first section"
        self._open = _option(self._section, line)
        self._section.structure.append(self._open)
        return ""


def _decode(data: bytes, name: str) -> str:
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


def _append(container: Section | ConfigUpdater, block: Comment | Space, line: str) -> None:
    block.attach(container)
    block.lines.append(line)
    container.structure.append(block)


def _option(section: Section, line: str) -> Option:
    return Option(line[: _delimiter(line)].strip(), container=section, line=line)


def _index(option: Option) -> int:
    # By identity: equal lines of a repeated key are different blocks, which ConfigUpdater 3 and 4.0 mix up.
    return next(index for index, block in enumerate(option.section.structure) if block is option)


def _delimiter(line: str) -> int:
    found = re.search("[:=]", line)
    return found.start() if found else -1


def _parts(line: str) -> tuple[str, str, str]:
    """Split an assignment's first line into what precedes the value, the value as written, and the rest."""
    start = _delimiter(line) + 1
    body = line.rstrip("\r\n")
    value = body[start:].strip()
    start = body.index(value, start) if value else len(body)
    return body[:start], value, body[start + len(value) :]


def _is_quoted(written: str) -> bool:
    return written != "" and written[0] == written[-1] and written[0] in _QUOTES


def _value(option: Option) -> str:
    written = _parts(option.lines[0])[1]
    first = written[1:-1] if _is_quoted(written) else written
    return "\n".join([first, *(line.strip() for line in option.lines[1:])])


def _quoted(value: str, quote: str = "") -> str:
    """Write a value so that oslo.config reads it back: in the given quotes, in double ones if it must."""
    quote = quote or ('"' if value != value.strip() or _is_quoted(value) else "")
    return f"{quote}{value}{quote}"


def _replace(option: Option, value: str) -> None:
    """Put a value in place of the one written; the delimiter, its spacing, quotes and end of line stay."""
    before, written, after = _parts(option.lines[0])
    if not written and re.search(r"\s[:=]\Z", before):
        before += " "
    quote = written[0] if _is_quoted(written) and len(written) > 1 else ""
    eol = re.search(r"\r?\n?\Z", option.lines[-1])
    option.lines[:] = [f"{before}{_quoted(value, quote)}{after}{eol.group() if eol else ''}"]


def _group(name: str) -> str:
    """Return the name by which oslo.config compares groups (cfg._normalize_group_name)."""
    return name if name == "DEFAULT" else name.lower()


def _check(section: str, key: str, value: str) -> None:
    if not section or set(section) & _LINE_ENDS:
        raise ValueError(f"{section!r} cannot be a section's name")
    if not key or key != key.strip() or key[0] in "[#;" or set(key) & {":", "=", *_LINE_ENDS}:
        raise ValueError(f"{key!r} cannot be a key")
    if set(value) & _LINE_ENDS or any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"the value for [{section}] {key} holds a line end, a NUL or half a surrogate pair")

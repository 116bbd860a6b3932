"""uwsgi's options, as far as a Python program behind it depends on them (unbit/uwsgi: core/uwsgi.c, core/ini.c)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deployer.agent.processes import text

_INI = ("ini", "include", "inherit")
_OTHER_FORMATS = ("xml", "yaml", "yml", "json", "config")
_HOMES = ("virtualenv", "venv", "home", "pyhome", "H")
_SET = ("set", "set-ph", "set-placeholder", "S")
_WANTED = (*_INI, *_OTHER_FORMATS, *_HOMES, *_SET, "pyargv", "chdir", "env", "emperor", "threads")
_PLACEHOLDER = re.compile(r"%\(([^)]+)\)|\$\(([^)]+)\)")


def is_uwsgi(program: str) -> bool:
    """Whether the program is uwsgi, in any of its distributions' names (uwsgi, uwsgi-core, uwsgi_python311)."""
    return Path(program).name.startswith("uwsgi")


@dataclass(frozen=True)
class Options:
    """Options in the order in which uwsgi takes them, and why they are not all: "" when they are."""

    taken: list[tuple[str, str]] = field(default_factory=list, repr=False)
    problem: str = ""

    def last(self, *names: str) -> str:
        """Return the value that counts of an option with one value, "" without it."""
        return next((value for name, value in reversed(self.taken) if name in names), "")

    @property
    def words(self) -> list[str]:
        """The program's sys.argv: uwsgi cuts its pyargv at blanks and knows no quotes (plugins/python/pyutils.c)."""
        return ["uwsgi", *self.last("pyargv").split()]

    @property
    def environ(self) -> dict[str, str]:
        """The variables that uwsgi sets for the program."""
        pairs = (value.partition("=") for name, value in self.taken if name == "env")
        return {name: value for name, _, value in pairs}

    @property
    def virtualenv(self) -> str:
        """The directory of the program's virtual environment, "" when it has none."""
        return self.last(*_HOMES)

    @property
    def threads(self) -> int:
        """Threads of each worker that run requests; 1 unless told otherwise."""
        told = self.last("threads")
        return int(told) if told.isdecimal() else 1

    @property
    def directory(self) -> str:
        """The directory that uwsgi changes to, "" when it stays."""
        return self.last("chdir")


def options(words: Sequence[str], directory: str, environ: Mapping[str, str]) -> Options:
    """Return the options of a command line (words[0] is uwsgi itself) and of the ini files that it names."""
    reader = _Reader(directory, environ)
    for name, value in _command_line(words[1:]):
        reader.take(name, value)
    return Options(reader.taken, reader.problem)


def _command_line(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the wanted options; bare ini files come last, as uwsgi loads them after its options."""
    found: list[tuple[str, str]] = []
    bare: list[tuple[str, str]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equal, value = word.lstrip("-").partition("=")
        if not word.startswith("-"):
            bare += [("ini", word)] if word.partition(":")[0].endswith(".ini") else []
        elif name in _WANTED and (equal or rest):
            value = value if equal else rest.pop(0)
            found.append((name, " ".join([value, *_more(value, rest)]) if name == "pyargv" else value))
    return found + bare


def _more(value: str, rest: list[str]) -> list[str]:
    """Take the words of a pyargv that systemctl told without its quotes."""
    taken: list[str] = []
    while rest and (rest[0].startswith("--config-") or (taken or [value])[-1] in ("--config-file", "--config-dir")):
        taken.append(rest.pop(0))
    return taken


class _Reader:
    """Takes options one by one, with the files that they name in their place."""

    def __init__(self, directory: str, environ: Mapping[str, str]) -> None:
        self.taken: list[tuple[str, str]] = []
        self.problem = ""
        self._directory, self._environ = directory, environ
        self._within: list[str] = []

    def take(self, name: str, value: str) -> None:
        value = _PLACEHOLDER.sub(self._filled, value)
        if name in _INI:
            self._file(value)
        elif name in _SET:
            key, _, of = value.partition("=")
            self.taken.append((key, of))
        else:
            self.taken.append((name, value))
        if name in (*_OTHER_FORMATS, "emperor"):
            self.problem = f"uwsgi takes its options by --{name}, which is not read"

    def _filled(self, match: re.Match[str]) -> str:
        option, variable = match.groups()
        found = Options(self.taken).last(option) if option else self._environ.get(variable, "")
        if not found:
            self.problem = f"uwsgi's {match.group()} cannot be told"
        return found

    def _file(self, value: str) -> None:
        """Read the section of `PATH[:SECTION]`; a file that includes itself is read once."""
        path, _, section = value.partition(":")
        path = str(Path(self._directory, path))
        content = text(path)
        if not content:
            self.problem = f"uwsgi's {path} cannot be read"
        if value in self._within:
            return
        self._within.append(value)
        for name, option in _section(content, section or "uwsgi"):
            self.take(name, option)
        self._within.pop()


def _section(content: str, wanted: str) -> list[tuple[str, str]]:
    found, section = [], ""
    for line in map(str.strip, content.split("\n")):
        if line.startswith("["):
            section = line[1:-1]
        elif line and line[0] not in ";#" and section == wanted:
            name, _, value = line.partition("=")
            found.append((name.strip(), value.strip()))
    return found

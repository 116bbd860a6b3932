"""What a unit's configuration comes to: all files that it reads, taken together as oslo.config takes them. Pure.

oslo_config/cfg.py (9.0 to 10.7): `_Namespace._get_file_value` looks from the last file to the first, in each for the
option's own name and then for its deprecated ones, and the last value there wins; a MultiStrOpt has all values of all
files and names. `ConfigOpts._substitute` then fills in $name.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployer.errors import ConfigurationError, FileRefused, Mistake
from deployer.ini import IniFile
from deployer.model.deployment import ProjectDeployment
from deployer.plan.observed import FileFact, HostFacts, UnitFact

Name = tuple[str, str]
"""Section and key."""


@dataclass(frozen=True)
class Found:
    """A value in force: as `written` and with its $names filled in; where it stands, under which name.

    `line` is 1-based: where the last value of that name begins in the file.
    """

    value: str = field(repr=False)
    written: str = field(repr=False)
    path: str
    line: int
    section: str
    key: str

    @property
    def name(self) -> Name:
        """Return section and key under which it stands, perhaps a deprecated one."""
        return self.section, self.key


class Effective:
    """The configuration of one unit on one host; `unit` is "" for a project none of whose units is known there.

    `files` are in the order in which they are read. `not_oslo` are options of [DEFAULT] that are the project's own: no
    deprecated name of oslo.messaging's is looked for there.
    """

    def __init__(
        self, host: str, unit: str, files: Sequence[tuple[str, IniFile]], not_oslo: Collection[str] = ()
    ) -> None:
        self.host, self.unit, self.files = host, unit, tuple(files)
        self._not_oslo = not_oslo

    def get(self, section: str, key: str, *deprecated: Name) -> Found | None:
        """Return what wins for a scalar option, None when no file has it.

        Raises ConfigurationError when it refers to a name that the files do not set.
        """
        for path, ini in reversed(self.files):
            for name in self._names(section, key, deprecated):
                written = ini.get(*name)
                if written is not None:
                    return self._found(path, ini, name, written, (section, key))
        return None

    def get_all(self, section: str, key: str, *deprecated: Name) -> list[Found]:
        """Return all values of a MultiStrOpt in oslo.config's order; raises ConfigurationError as `get`."""
        return [
            self._found(path, ini, name, written, (section, key))
            for path, ini in self.files
            for name in reversed(self._names(section, key, deprecated))
            for written in ini.get_all(*name)
        ]

    def text(self, section: str, key: str) -> str:
        """Return what wins for a scalar option, "" when no file has it; raises ConfigurationError as `get`."""
        found = self.get(section, key)
        return found.value if found else ""

    def sets(self, section: str, key: str) -> bool:
        """Whether what wins for a scalar option is anything at all, whatever it refers to."""
        written = (ini.get(section, key) for _, ini in reversed(self.files))
        return bool(next((value for value in written if value is not None), ""))

    def with_files(self, edited: Mapping[str, IniFile]) -> Effective:
        """Return the configuration as it is with these files, by path, in the place of those of the same path."""
        files = [(path, edited.get(path, ini)) for path, ini in self.files]
        return Effective(self.host, self.unit, files, self._not_oslo)

    def mistake(self, found: Found, problem: str) -> Mistake:
        """Return a mistake that names host, file, line and unit."""
        return Mistake(f"{self.host}: {found.path}", self.unit, problem, found.line)

    def _names(self, section: str, key: str, deprecated: Sequence[Name]) -> list[Name]:
        return [(section, key), *(name for name in deprecated if name[0] != "DEFAULT" or name[1] not in self._not_oslo)]

    def _found(self, path: str, ini: IniFile, name: Name, written: str, option: Name) -> Found:
        found = Found(written, written, path, ini.line_of(*name) or 0, *name)
        return replace(found, value=self._filled(written, found, (option,))) if "$" in written else found

    def _filled(self, written: str, origin: Found, within: tuple[Name, ...]) -> str:
        """Fill in $names; `within` are the options whose values are being filled in, the innermost last."""

        def fill(match: re.Match[str]) -> str:
            name = match["named"] or match["braced"]
            if name:
                return self._referred(name, origin, within)
            return "$" if match["escaped"] else match[0]

        # oslo.config takes \$ for $$.
        return _Template.pattern.sub(fill, written.replace(r"\$", "$$"))

    def _referred(self, name: str, origin: Found, within: tuple[Name, ...]) -> str:
        group, dot, key = name.partition(".")
        # cfg.py, StrSubWrapper: $name is an option of the same group, else of [DEFAULT]; $group.name says which.
        places = [(group, key)] if dot else [(within[-1][0], name), ("DEFAULT", name)]
        for place in places:
            values = (ini.get(*place) for _, ini in reversed(self.files))
            written = next((value for value in values if value is not None), None)
            if written is not None and place not in within:
                return self._filled(written, origin, (*within, place))
        problem = (
            f"[{origin.section}] {origin.key} refers to ${name}, which no file of the unit sets: nobody can tell what "
            "the service makes of it. Write the value itself there"
        )
        raise ConfigurationError([self.mistake(origin, problem)])


class _Template(string.Template):
    """The names of oslo.config's `ConfigOpts.Template`."""

    idpattern = r"[_a-z][\._a-z0-9]*"


def effective_configs(facts: HostFacts, project: ProjectDeployment) -> dict[str, Effective]:
    """Return, by name, the configuration of each of the project's units that the host has; of none: the main file's.

    A unit of which nobody told what it reads is taken to read the main file alone. A project that is not managed has
    nothing to read. Raises ConfigurationError with every file that is missing or cannot be read.
    """
    if not project.project.managed:
        return {}
    read_by = _read_by(facts, project)
    paths = dict.fromkeys(path for paths in read_by.values() for path in paths)
    refused = [found for path in paths if (found := _refused(facts.files[path]))]
    if len(refused) == 1:
        raise refused[0].on(facts.host)
    if refused:
        raise ConfigurationError([mistake for one in refused for mistake in one.on(facts.host).mistakes])
    own = project.project.not_oslo
    files = {name: [(path, facts.files[path].ini) for path in paths] for name, paths in read_by.items()}
    return {name: Effective(facts.host, name, read, own) for name, read in files.items()}


def _refused(fact: FileFact) -> FileRefused | None:
    try:
        fact.ini  # noqa: B018 - parsing is what may be refused
    except FileRefused as refused:
        return refused
    return None


def units_of(facts: HostFacts, project: ProjectDeployment) -> list[UnitFact]:
    """Return the project's units that the host has, running or not, in the catalogue's order."""
    found = (facts.first_unit(unit.names) for unit in project.project.units)
    return [unit for unit in found if unit is not None]


def _read_by(facts: HostFacts, project: ProjectDeployment) -> dict[str, list[str]]:
    """Return, by unit, the files that it reads and that are there; raises ConfigurationError for one without any."""
    units = units_of(facts, project)
    main = project.project.files[:1]
    asked = {unit.name: unit.config.files if unit.config else main for unit in units} or {"": main}
    there = {name: _last_of_each(facts, paths) for name, paths in asked.items()}
    if all(there.values()):
        return there
    problem = f"does not exist. Install {project.name} there, or take the host out of the group {project.name}"
    raise ConfigurationError([Mistake(f"{facts.host}: {main[0]}", "", problem)])


def _last_of_each(facts: HostFacts, paths: Sequence[str]) -> list[str]:
    """Return the files that exist, under one path each: one that is read twice counts where it is read last."""
    there = [facts.same_file(path) for path in reversed(paths) if facts.files[path].exists]
    return list(dict.fromkeys(there))[::-1]

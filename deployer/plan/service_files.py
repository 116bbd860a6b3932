"""The edits of one project's files on one host: every file that wins for any of its units, and no other."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from deployer.errors import ConfigurationError, Mistake
from deployer.ini import IniFile
from deployer.model.deployment import ProjectDeployment
from deployer.model.secrets import Blob
from deployer.model.transports import Transports
from deployer.plan.diff import unified_diff
from deployer.plan.effective import Effective, Found, Name, effective_configs
from deployer.plan.listeners import Notifications
from deployer.plan.observed import FileFact, HostFacts
from deployer.plan.steps import Intent
from deployer.plan.wanted import RPC_URL, Wanted, wanted_options


@dataclass(frozen=True)
class FileEdit:
    """A file as it is and as it shall be; nothing to do when both are the same.

    `rpc_moves` tells that [DEFAULT] transport_url is among what changes.
    """

    path: str
    fact: FileFact
    after: Blob
    rpc_moves: bool = False

    @property
    def changed(self) -> bool:
        """Whether any byte differs."""
        return self.fact.content != self.after

    def diff(self) -> str:
        """Return the unified diff, passwords masked."""
        before = self.fact.content.reveal() if self.fact.content else None
        return unified_diff(self.path, before, self.after.reveal())

    def intent(self) -> Intent:
        """Return the write, bound to the bytes the edit was made from."""
        kept = {"mode": None, "user": None, "group": None}
        args = {"path": self.path, "content_b64": self.after.base64(), **kept}
        return Intent("file.write", args, f"write {self.path}", self.fact.preimage())


@dataclass(frozen=True)
class ServiceFiles:
    """What one project's files on one host shall become; `wanted` is what each unit then comes to, by its name.

    `configs` are the units' configurations as they are, `edited` the files that change, by path. `packaged` are files
    that are never edited.
    """

    host: str
    project: str
    edits: tuple[FileEdit, ...]
    wanted: Mapping[str, tuple[Wanted, ...]] = field(repr=False)
    configs: Mapping[str, Effective] = field(repr=False)
    edited: Mapping[str, IniFile] = field(repr=False)
    packaged: frozenset[str]

    def defeated(self, edited: Mapping[str, IniFile]) -> list[Mistake]:
        """Return a mistake for each option that a unit does not come to when these files, by path, are as edited."""
        mistakes = []
        for unit, wanted in self.wanted.items():
            now, conf = self.configs[unit], self.configs[unit].with_files(edited)
            failed = [one for one in wanted if not one.holds(conf)]
            homeless = [one for one in failed if not one.found(conf)]
            mistakes += [_defeated(now, conf, one, self.packaged) for one in failed if one not in homeless]
            mistakes += [_homeless(conf, homeless, self.project)] if homeless else []
        return mistakes


def edit_service_files(
    facts: HostFacts, project: ProjectDeployment, transports: Transports, notifications: Notifications
) -> ServiceFiles:
    """Return the edits that bring every unit of the project on this host to its transports; none for what is right.

    Raises ConfigurationError when a file cannot be read, or no edit of a file that may be edited comes to that.
    """
    configs = effective_configs(facts, project)
    wanted = {name: tuple(wanted_options(project, transports, notifications, conf)) for name, conf in configs.items()}
    editor = _Editor(facts, project)
    # Who reads fewer files comes first: what is written for it is found there by those that read more.
    for name in sorted(configs, key=lambda name: len(configs[name].files)):
        for one in wanted[name]:
            editor.bring(configs[name], one)
    done = ServiceFiles(facts.host, project.name, editor.edits(), wanted, configs, editor.edited, editor.packaged)
    mistakes = done.defeated(editor.edited)
    if mistakes:
        raise ConfigurationError(mistakes)
    return done


def shared_file_mistakes(done: Iterable[ServiceFiles]) -> list[Mistake]:
    """Return what is wrong where several projects of one host read the same file: all of them switch apart."""
    done = list(done)
    editors: dict[str, list[str]] = {}
    edited: dict[str, IniFile] = {}
    for one in done:
        for path, ini in one.edited.items():
            editors.setdefault(path, []).append(one.project)
            edited[path] = ini
    shared = {path: names for path, names in editors.items() if len(names) > 1}
    problem = "take their messaging options from this file, and each needs its own. Give each a file of its own"
    mistakes = [
        Mistake(f"{done[0].host}: {path}", "", f"{' and '.join(names)} {problem}") for path, names in shared.items()
    ]
    alone = {path: ini for path, ini in edited.items() if path not in shared}
    return mistakes + [mistake for one in done for mistake in one.defeated({**one.edited, **alone})]


class _Editor:
    """Edits the files of one project on one host; a file is parsed anew when something is first to change in it."""

    def __init__(self, facts: HostFacts, project: ProjectDeployment) -> None:
        self._facts = facts
        self._homes = [facts.same_file(path) for path in project.project.files if path in facts.files]
        self._moved: set[str] = set()
        self.packaged = frozenset(path for path, fact in facts.files.items() if is_packaged(fact))
        self.edited: dict[str, IniFile] = {}

    def bring(self, conf: Effective, wanted: Wanted) -> None:
        """Let a unit come to what is wanted of one option: by edits where it stands, or where a new one belongs."""
        conf = conf.with_files(self.edited)
        for path, ini in conf.files:
            for name in wanted.unwanted_names:
                if self._is_ours(path) and ini.get(*name) is not None:
                    self._change(path, name, [])
        conf = conf.with_files(self.edited)
        if wanted.multi:
            self._set_all(conf, wanted)
        else:
            self._set(conf, wanted)

    def edits(self) -> tuple[FileEdit, ...]:
        """Return an edit for each file that changes, in the order in which it first did."""
        edits = (
            FileEdit(path, self._facts.files[path], Blob(ini.render()), path in self._moved)
            for path, ini in self.edited.items()
        )
        return tuple(edit for edit in edits if edit.changed)

    def _set(self, conf: Effective, wanted: Wanted) -> None:
        found = conf.get(*wanted.option, *wanted.deprecated)
        [value] = wanted.values or ("",)
        if (found.value if found else "") == value and (not found or not value or found.name == wanted.option):
            return
        path = found.path if found and self._is_ours(found.path) else self._home(conf, found)
        if path is not None:
            self._change(path, wanted.option, [_escaped(value)], last=True)

    def _set_all(self, conf: Effective, wanted: Wanted) -> None:
        standing: dict[str, list[Found]] = {}
        for found in conf.get_all(*wanted.option):
            standing.setdefault(found.path, []).append(found)
        kept = {path: list[str]() for path in standing}
        seen = {found.value for path, own in standing.items() if not self._is_ours(path) for found in own}
        ours = [path for path in standing if self._is_ours(path)]
        for found in (found for path in ours for found in standing[path]):
            if found.value in wanted.values and found.value not in seen:
                seen.add(found.value)
                kept[found.path].append(found.written)
        place = ours[-1] if ours else self._home(conf, None)
        missing = [_escaped(value) for value in wanted.values if value not in seen]
        for path in ours or ([place] if place else []):
            values = kept.get(path, []) + (missing if path == place else [])
            if values != [found.written for found in standing.get(path, [])]:
                self._change(path, wanted.option, values)

    def _change(self, path: str, name: Name, values: list[str], *, last: bool = False) -> None:
        """Make these the values of an option in a file; with `last`, only the one that wins there is replaced."""
        content = self._facts.files[path].content
        ini = self.edited.get(path) or IniFile.parse(content.reveal() if content else b"", path)
        self.edited[path] = ini
        self._moved |= {path} if name == RPC_URL else set()
        try:
            if last:
                ini.set(*name, values[-1])
            else:
                ini.set_all(*name, values)
        except ValueError as error:
            mistake = Mistake(f"{self._facts.host}: {path}", "", f"{error}. Write it on one line, wherever it stands")
            raise ConfigurationError([mistake]) from None

    def _home(self, conf: Effective, after: Found | None) -> str | None:
        """Return the first of the project's files, its main one most often, that the unit reads after what is there."""
        paths = [path for path, _ in conf.files]
        later = paths[paths.index(after.path) + 1 :] if after else paths
        return next((path for path in self._homes if path in later and self._is_ours(path)), None)

    def _is_ours(self, path: str) -> bool:
        return path not in self.packaged


def is_packaged(fact: FileFact) -> bool:
    """Whether a file is a package's own, below /usr: never edited, for the package's next update would undo it."""
    return (fact.real or fact.path).startswith("/usr/")


def _escaped(value: str) -> str:
    """Write a value so that oslo.config, which fills in $names, reads it back."""
    return value.replace("$", "$$")


def _defeated(now: Effective, conf: Effective, wanted: Wanted, packaged: Container[str]) -> Mistake:
    wrong = next(found for found in reversed(wanted.found(conf)) if found.value not in wanted.values)
    problem = f"[{wrong.section}] {wrong.key} is in force here, where [{wanted.option[0]}] {wanted.option[1]}"
    remedy = (
        "has to come to something else, and what is below /usr is never edited. Let the unit read a file after this one"
        if wrong.path in packaged
        else "has to come to something else for this unit than for another that reads it. Give each a file of its own, "
        "read after this one"
    )
    # The line as the file is now, not as it would be.
    line = dict(now.files)[wrong.path].line_of(*wrong.name)
    return Mistake(f"{conf.host}: {wrong.path}", conf.unit, f"{problem} {remedy}", line)


def _homeless(conf: Effective, wanted: Iterable[Wanted], project: str) -> Mistake:
    options = ", ".join(f"[{one.option[0]}] {one.option[1]}" for one in wanted)
    problem = f"reads none of {project}'s own files, and sets nowhere what has to be set: {options}"
    remedy = "Let it read one of them, or name these options in a file of its own"
    return Mistake(f"{conf.host}: {conf.files[-1][0]}", conf.unit, f"{problem}. {remedy}")

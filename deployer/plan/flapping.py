"""Values that somebody puts back between two runs: another tool manages the file, and fighting over it helps nobody."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence

from deployer.errors import Finding
from deployer.ini import IniFile
from deployer.plan.projects import ProjectPlan
from deployer.plan.service_files import FileEdit

Change = Sequence[str | None]
"""What an option was set from and to, each the sha256 of its values; None: it was not set."""

Options = Mapping[str, Mapping[str, Mapping[str, Change]]]
"""Changes by host, path and option (SECTION/KEY)."""

TOLERATED = 1
"""Times that a value may come back: once may be a person who did not know, twice is a tool."""


def changed_options(plan: ProjectPlan) -> dict[str, dict[str, dict[str, list[str | None]]]]:
    """Return what each option that the plan changes is set from and to, as a run's record keeps it."""
    found: dict[str, dict[str, dict[str, list[str | None]]]] = {}
    for host, edits in plan.edits.items():
        found[host] = {edit.path: _changes(edit) for edit in edits}
    return found


def flapping(wanted: Options, earlier: Sequence[Options]) -> list[Finding]:
    """Return a finding for each file in which values came back after earlier runs that stand, newest run first."""
    found = []
    for host, path, options in _files(wanted):
        back = {
            option: _times_back([change, *_changes_of(earlier, host, path, option)])
            for option, change in options.items()
        }
        if any(back.values()):
            found.append(_finding(host, path, {option: times for option, times in back.items() if times}))
    return found


def _finding(host: str, path: str, back: Mapping[str, int]) -> Finding:
    times = max(back.values())
    often = "once" if times == 1 else f"{times} times in a row"
    detail = f"{path}: {', '.join(sorted(back))} came back {often} after a run had changed it: another tool writes it"
    if times <= TOLERATED:
        return Finding(host, "flapping", "told", detail)
    remedy = f"Let that tool write the new value, or keep it from the file, or waive {host}:{path}"
    return Finding(host, "flapping", "failed", detail, remedy, waiver=f"{host}:{path}")


def _times_back(changes: Iterable[Change]) -> int:
    """Return how often, up to now, a run found the value again that the run before it had replaced; newest first."""
    pairs = itertools.pairwise(changes)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0][0] == pair[1][0], pairs))


def _changes_of(earlier: Iterable[Options], host: str, path: str, option: str) -> list[Change]:
    seen = (options.get(host, {}).get(path, {}).get(option) for options in earlier)
    return [change for change in seen if change is not None]


def _files(wanted: Options) -> Iterable[tuple[str, str, Mapping[str, Change]]]:
    return ((host, path, options) for host, files in wanted.items() for path, options in files.items())


def _changes(edit: FileEdit) -> dict[str, list[str | None]]:
    before = _values(edit.path, edit.fact.content.reveal() if edit.fact.content else b"")
    after = _values(edit.path, edit.after.reveal())
    return {
        f"{section}/{key}": [before.get((section, key)), after.get((section, key))]
        for section, key in sorted(before.keys() | after.keys())
        if before.get((section, key)) != after.get((section, key))
    }


def _values(path: str, content: bytes) -> dict[tuple[str, str], str]:
    ini = IniFile.parse(content, path)
    return {name: hashlib.sha256("\n".join(ini.get_all(*name)).encode()).hexdigest() for name in ini.options()}

"""What a rollback does to each file, found out on all hosts before any is touched: files that others changed too."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployer.errors import FileRefused, HostsFailed, HybridmsgError, StalePlan
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import ProjectDeployment
from deployer.plan.diff import unified_diff
from deployer.plan.merge import merge_back
from deployer.plan.observed import FileFact
from deployer.plan.query import query
from deployer.rollout.fleet import Fleet
from deployer.rollout.undo import FILES, Entry, Journals, chosen
from tasks.journal import read_blobs

_REMEDY = "Compare it, then roll back with --force: what was before the run wins over that, other edits stay"

File = tuple[str, str]
"""A file by host and path."""

Write = tuple[str, Entry]
"""A host, and a step that wrote a file there."""


@dataclass(frozen=True)
class Version:
    """A file at one time: its sha256 (None: absent), and its content where that was needed."""

    sha256: str | None
    content: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, content: bytes | None) -> Version:
        """Return the version that has this content."""
        return cls(None if content is None else hashlib.sha256(content).hexdigest(), content)


@dataclass(frozen=True)
class FileBack:
    """A file that a step of the run wrote and that goes back, from what it is `now` to `then`; `before` the run it was
    perhaps something else.

    `kept` are edits of others that stay in it, `problems` what keeps it from going back unless it is forced; both are
    masked.
    """

    host: str
    path: str
    step: str
    before: Version
    now: Version
    then: Version
    kept: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def diff(self) -> str:
        """Return the diff from now to then, masked; both contents must be known."""
        return unified_diff(self.path, self.now.content, self.then.content)

    @property
    def merged(self) -> bool:
        """Whether it becomes something else than what it was before the run."""
        return self.then.sha256 != self.before.sha256

    def wire(self) -> dict[str, Any]:
        """Return the content in place of the before-image, as the agent takes it, for the file as it is now."""
        content = None if self.then.content is None else base64.b64encode(self.then.content).decode()
        return {"content_b64": content, "sha256": self.now.sha256}


@dataclass(frozen=True)
class Comparison:
    """Every file that goes back, in the order in which it does."""

    files: tuple[FileBack, ...]

    def must_hold(self) -> None:
        """Raise HostsFailed of StalePlan with all that keeps files from going back."""
        problems: dict[str, list[str]] = {}
        for one in self.files:
            for problem in one.problems:
                problems.setdefault(one.host, []).append(f"{one.path}: {problem}")
        errors: dict[str, HybridmsgError] = {
            host: StalePlan(host, "; ".join(own), _REMEDY) for host, own in problems.items()
        }
        if errors:
            raise HostsFailed(errors)

    def merged(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return, by host and step, what the agent puts in place of before-images."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for one in self.files:
            if one.merged:
                found.setdefault(one.host, {})[one.step] = one.wire()
        return found

    def told(self) -> list[str]:
        """Return what is told of files that others changed: the edits that stay, and what force goes over."""
        kept = [f"{one.host}: {one.path}: {line}: is kept" for one in self.files for line in one.kept]
        forced = [f"{one.host}: {one.path}: {line}: is forced" for one in self.files for line in one.problems]
        return list(dict.fromkeys([*kept, *forced]))


def writes(projects: Iterable[ProjectDeployment], journals: Journals) -> list[Write]:
    """Return the writes of these projects that stand, in the order in which they are taken back."""
    return [
        (host, entry)
        for project in projects
        for host, entries in journals.items()
        for entry in reversed(chosen(entries, project, FILES))
    ]


def compare(
    fleet: Fleet, store: RunStore, run: Run, written: Sequence[Write], *, force: bool = False, whole: bool = False
) -> Comparison:
    """Compare every file that was written, and goes back in this order, with what the run left; changes no host.

    With `whole` the contents of all of them are had, also of those that nobody else changed. Raises HostsFailed when a
    host does not tell.
    """
    targets: dict[str, set[str]] = {}
    for host, entry in written:
        targets.setdefault(host, set()).add(entry["target"])
    facts = fleet.ask_facts({host: query(own, []) for host, own in targets.items()})
    files = {(host, path): _version(facts[host].files[path]) for host, own in targets.items() for path in own}
    contents = _contents(fleet, store, run, written if whole else _changed(written, files))
    found = []
    for host, entry in written:
        back = _back(host, entry, files[host, entry["target"]], contents, force=force)
        # A file may be several projects': what the first one leaves is what the next one finds.
        files[host, entry["target"]] = back.then
        found.append(back)
    return Comparison(tuple(found))


def _version(fact: FileFact) -> Version:
    return Version(fact.sha256, fact.content.reveal() if fact.content else None)


def _changed(written: Iterable[Write], files: Mapping[File, Version]) -> list[Write]:
    """Return the writes of files which somebody else changed: before and after do not meet."""
    now = {file: version.sha256 for file, version in files.items()}
    strange: set[File] = set()
    for host, entry in written:
        before, left = _sums(entry)
        if now[host, entry["target"]] not in (before, left):
            strange.add((host, entry["target"]))
        now[host, entry["target"]] = before
    return [(host, entry) for host, entry in written if (host, entry["target"]) in strange]


def _contents(fleet: Fleet, store: RunStore, run: Run, written: Iterable[Write]) -> dict[tuple[str, str], bytes]:
    """Return, by host and sha256, what was there before these writes and what they left: by the host's own journal,
    else by the copy here."""
    wanted: dict[str, list[str]] = {}
    for host, entry in written:
        wanted.setdefault(host, []).extend(sha256 for sha256 in _sums(entry) if sha256)
    results, errors = fleet.attempt(wanted, read_blobs, run=run.run, sha256s=wanted)
    found = {(host, sha256): content for host, one in results.items() for sha256, content in one.blobs.items()}  # type: ignore[attr-defined]  # Result keeps extra keywords as attributes
    for host in errors:
        copies = {sha256: store.copy(run.run, host).blob(sha256) for sha256 in wanted[host]}
        found.update({(host, sha256): content for sha256, content in copies.items() if content is not None})
    return found


def _back(host: str, entry: Entry, now: Version, contents: Mapping[tuple[str, str], bytes], *, force: bool) -> FileBack:
    before, left = (Version(sha256, contents.get((host, sha256 or ""))) for sha256 in _sums(entry))

    def back(then: Version, kept: Sequence[str] = (), problems: Sequence[str] = ()) -> FileBack:
        return FileBack(host, entry["target"], entry["step"], before, now, then, tuple(kept), tuple(problems))

    if now.sha256 in (before.sha256, left.sha256):
        return back(now if now.sha256 == before.sha256 else before)
    if now.content is None:
        return back(before, problems=["was removed after the run"])
    if left.content is None or (before.sha256 and before.content is None):
        return back(before, problems=["was changed after the run, and what the run left is kept nowhere"])
    try:
        merged = merge_back(entry["target"], before.content, left.content, now.content, force=force)
    except FileRefused as refused:
        return back(before, problems=[f"was changed after the run, and cannot be merged: {refused.problem}"])
    return back(Version.of(merged.content), merged.kept, [str(one) for one in merged.conflicts])


def _sums(entry: Entry) -> tuple[str | None, str | None]:
    """Return the sha256 of what was there before a write, and of what it left; None: nothing."""
    return entry["before"].get("sha256"), entry["after"].get("sha256")

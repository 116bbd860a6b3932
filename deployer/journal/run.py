"""What is recorded of one run: what it found, wanted and did. It goes to the hosts too, as one document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

SCHEMA = 2
UNDO = "-undo"
"""What follows a run's name in that of the journal of what its undo stopped."""
State = Literal["running", "done", "failed", "interrupted", "split", "rolling back", "rolled back"]


@dataclass
class Run:
    """One recorded run. `addresses` has each host's as the inventory said it; `files` maps host and path to the file's
    identity before it; `units` host and unit to its active and enabled state before; `baseline` lists the servers
    expected and whether each answered before; `projects` names those that the run changed and that it left changed,
    `confirmed` those of them that were proven and that all their hosts keep; `held` those that it rolled back and that
    a hold keeps there; `outcomes` maps each host to what became of it; `options` maps project, host, path and
    SECTION/KEY to what each option was set from and to, as the sha256 of its values (None: not set); `fingerprint`
    stands for all that its plan told hosts, keyed with `salt`; `back` is who rolled it back, and when. `revision` rises
    with each save: the higher one is the newer."""

    run: str
    command: str
    who: str
    when: str
    inventory: str
    state: State = "running"
    hosts: list[str] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    units: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    baseline: list[dict[str, Any]] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, dict[str, dict[str, list[str | None]]]]] = field(default_factory=dict)
    fingerprint: str = ""
    back: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    ended: str | None = None
    revision: int = 0
    schema: int = SCHEMA

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Run:
        """Return the run that a document describes; raises ValueError saying why it describes none."""
        if document.get("schema") != SCHEMA:
            raise ValueError("another schema")
        content = {key: value for key, value in document.items() if key != "sum"}
        if document.get("sum") != checksum(content):
            raise ValueError("it does not match its checksum")
        if content.keys() != {one.name for one in fields(cls)}:
            raise ValueError("its fields are not those of a record")
        return cls(**content)

    def document(self) -> dict[str, Any]:
        """Return the run as it is recorded: plain JSON values, copies of the run's own, and their checksum."""
        content = asdict(self)
        return {**content, "sum": checksum(content)}

    @property
    def salt(self) -> str:
        """Return the run's own, hexadecimal: equal passwords of two runs do not show in their fingerprints."""
        return self.run.encode().hex()

    def is_of(self, addresses: Mapping[str, str]) -> bool:
        """Whether it is a run of the cloud whose hosts have these addresses: they share a host, and none is elsewhere.

        Hosts may have joined and left since, and the inventory may lie anywhere.
        """
        shared = self.addresses.keys() & addresses.keys()
        return bool(shared) and all(self.addresses[name] == addresses[name] for name in shared)

    @property
    def unfinished(self) -> bool:
        """Whether a project may stand between old and new: the run was cut off, or could not put it back."""
        return self.state in ("running", "split", "rolling back")

    @property
    def can_be_undone(self) -> bool:
        """Whether a project stands changed by the run, or may."""
        return self.unfinished or (bool(self.projects) and self.state != "rolled back")

    @property
    def seconds(self) -> float | None:
        """How long the run went on, None while nobody has ended it; a rollback is not part of that.

        0 where the clock was set back meanwhile, or since a run before it.
        """
        if self.ended is None:
            return None
        return max((datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.when)).total_seconds(), 0.0)


def checksum(content: Mapping[str, Any]) -> str:
    """Return the checksum of a document or of a journal's line, without its `sum` (deployer/agent/journal_lines.py)."""
    return hashlib.sha256(json.dumps(dict(content), sort_keys=True).encode()).hexdigest()[:16]

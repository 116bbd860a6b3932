"""Which runs are remembered no longer. Records hold every service's password: what nobody can need goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from deployer.journal.run import Run
from deployer.model.deployment import Retention


def forgotten(newest_first: Sequence[Run], retention: Retention, now: datetime) -> list[Run]:
    """Return the runs that are too many or too old, but for those that may still be undone.

    Those are every unfinished one, the newest that stands, and of each project the newest that changed it.
    """
    oldest = now - timedelta(days=retention.days)
    needed = set(_needed(newest_first))
    too_many = {run.run for run in newest_first[retention.runs :]}
    old = {run.run for run in newest_first if datetime.fromisoformat(run.when) < oldest}
    return [run for run in newest_first if run.run in (too_many | old) - needed]


def _needed(newest_first: Sequence[Run]) -> Iterator[str]:
    changed: set[str] = set()
    for run in newest_first:
        if run.unfinished or (run.can_be_undone and not changed.issuperset(run.projects)):
            yield run.run
        if run.can_be_undone:
            changed.update(run.projects)

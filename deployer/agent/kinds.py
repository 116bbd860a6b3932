"""All step kinds: what each finds before it acts, its act, and how what it did is taken back."""

from __future__ import annotations

from deployer.agent import (
    cells,
    commit_kinds,
    file_kinds,
    package_kinds,
    queues,
    rabbitmq,
    rabbitmq_objects,
    router,
    unit_kinds,
)
from deployer.agent.deeds import Check, Undo
from deployer.agent.errors import RefusedError
from deployer.agent.types import Act, Prepare, Prepared, Step

UNDO: dict[str, Undo] = {**file_kinds.UNDO, **unit_kinds.UNDO, **cells.UNDO, **commit_kinds.UNDO}
"""Kinds that are not in here are kept by an undo."""

CHECKS: dict[str, Check] = {**file_kinds.CHECKS, **cells.CHECKS}
"""Kinds whose undo would overwrite what somebody else did after the run."""


def prepare(step: Step) -> Prepared:
    """Look at the host for `step`, changing nothing; raises StaleError, RefusedError if it cannot begin."""
    if step.kind not in _KINDS:
        raise RefusedError(f"unknown step kind {step.kind!r}")
    return _KINDS[step.kind](step)


def _rabbitmq(act: Act) -> Prepare:
    return lambda step: Prepared("rabbitmq", lambda: act(step.args))


_KINDS: dict[str, Prepare] = {
    **file_kinds.KINDS,
    **unit_kinds.KINDS,
    **package_kinds.KINDS,
    **cells.KINDS,
    **commit_kinds.KINDS,
    **router.KINDS,
    **rabbitmq_objects.KINDS,
    **{kind: _rabbitmq(act) for kind, act in (*rabbitmq.KINDS.items(), *queues.KINDS.items())},
}

"""The tree of packages as a fixture, and at the end of a run what was in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.conftest import had
from tests.lab.packages.inside.starts import STARTS
from tests.lab.packages.tree import Tree, unpacked

_VERSIONS = pytest.StashKey[dict[str, str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the versions: a proof is one of them, and Debian's change with its updates."""
    versions = config.stash.get(_VERSIONS, {})
    names = (f"python3-{name.replace('_', '-')}" for name in ("oslo.messaging", *STARTS))
    for name in (name for name in names if name in versions):
        terminalreporter.line(f"{name} {versions[name]}")


@pytest.fixture(scope="session")
def tree(pytestconfig: pytest.Config) -> Iterator[Tree]:
    with had("the packages"), unpacked() as one:
        pytestconfig.stash[_VERSIONS] = one.versions()
        yield one

"""The lab as a fixture: brought up if need be; where it cannot be had, CI fails and a desk skips."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab import Lab, LabError
from tests.lab.layout import DEFAULT_NAME


@contextmanager
def had(what: str) -> Iterator[None]:
    """What cannot be had here fails in CI and skips at a desk."""
    try:
        yield
    except LabError as error:
        if os.environ.get("CI") == "true" or os.environ.get("HYBRIDMSG_LAB") == "1":
            pytest.fail(f"{what} cannot be had: {error}")
        pytest.skip(f"{what} cannot be had: {error}")


@pytest.fixture(scope="session")
def lab() -> Lab:
    with had("the lab"):
        return Lab.ensure(os.environ.get("HYBRIDMSG_LAB_NAME", DEFAULT_NAME))

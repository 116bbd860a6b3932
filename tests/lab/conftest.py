"""The lab as a fixture: brought up if need be; where it cannot be had, CI fails and a desk skips."""

from __future__ import annotations

import os

import pytest

from tests.lab import Lab, LabError
from tests.lab.layout import DEFAULT_NAME


@pytest.fixture(scope="session")
def lab() -> Lab:
    try:
        return Lab.ensure(os.environ.get("HYBRIDMSG_LAB_NAME", DEFAULT_NAME))
    except LabError as error:
        if os.environ.get("CI") == "true" or os.environ.get("HYBRIDMSG_LAB") == "1":
            pytest.fail(f"the lab cannot be had: {error}")
        pytest.skip(f"the lab cannot be had: {error}")

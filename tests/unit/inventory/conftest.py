"""The one fixture: writes an inventory directory."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.unit.inventory.inventories import DEFAULTS, HOSTS, Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(hosts: str = HOSTS, groups: str | None = None, defaults: str | None = DEFAULTS) -> Path:
        for name, text in (("hosts", hosts), ("groups", groups), ("defaults", defaults)):
            if text is not None:
                (tmp_path / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write

"""What goes to a host must run there: Python 3.9, its standard library, and nothing of the controller."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

DEPLOYER = Path(__file__).resolve().parents[3] / "deployer"
FILES = sorted([*(DEPLOYER / "agent").rglob("*.py"), *(DEPLOYER / "probe").rglob("*.py")])
ALLOWED = {
    "agent": ("deployer.agent",),
    "probe": ("deployer.probe", "oslo_config", "oslo_messaging", "oslo_utils"),
}


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a program without a package has no relative imports"
            found.add(node.module or "")
    return found


def _within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOYER)))
def test_every_file_is_python_3_9(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DEPLOYER)))
def test_every_file_imports_the_standard_library_only(file: Path) -> None:
    allowed = ALLOWED[file.relative_to(DEPLOYER).parts[0]]
    names = _imports(ast.parse(file.read_text()))
    foreign = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in foreign if not _within(name, allowed)} == set()

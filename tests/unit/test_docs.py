"""What the page of compatibility says is held to the catalogue and to the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployer.model.catalogue import Project, load_catalogue

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
SERVICES = PAGE.partition("## Services")[2].partition("\n## ")[0]
TESTS = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = {row[0]: row for row in map(cells, re.findall(r"^\|.*\|$", SERVICES, re.MULTILINE)[2:])}
every_project = pytest.mark.parametrize("project", load_catalogue().values(), ids=lambda project: project.name)


def test_every_project_of_the_catalogue_has_its_row() -> None:
    assert list(ROWS) == sorted(load_catalogue())


@every_project
def test_a_row_names_the_files_and_the_units_of_the_catalogue(project: Project) -> None:
    _, files, units, *_ = ROWS[project.name]
    assert files == ", ".join(f"`{file}`" for file in project.files)
    named = {name for part in units.split("; ") for name in part.partition(": ")[2].split(", ")}
    assert named == {unit.names[0] for unit in project.units}


@every_project
def test_a_row_says_what_stays(project: Project) -> None:
    assert all(part.what in ROWS[project.name][3] for part in project.unmoved)


def test_every_line_says_what_shows_it_or_that_nothing_does() -> None:
    lines = [line for line in re.findall(r"^\|.*\|$", PAGE, re.MULTILINE) if not re.match(r"\|-|.*shown by \|$", line)]
    assert [line for line in lines if not re.search(r"`test_\w+`|every test of|not shown", cells(line)[-1])] == []


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in TESTS] == []

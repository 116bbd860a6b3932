"""Set options in an oslo.config file, comments kept: reads "section key value" lines from stdin.

Used while images are built (as a program) and when a host gets its own settings (imported by seed.py).
"""

from __future__ import annotations

import sys
from pathlib import Path


def set_option(lines: list[str], section: str, key: str, value: str) -> None:
    """Replace the option in place, or insert it first in its section, which is made at the end if need be."""
    header = f"[{section}]"
    if header not in lines:
        lines.extend(["", header])
    start = lines.index(header) + 1
    end = next((n for n in range(start, len(lines)) if lines[n].startswith("[")), len(lines))
    found = [n for n in range(start, end) if _key(lines[n]) == key]
    for extra in reversed(found[1:]):
        del lines[extra]
    line = f"{key} = {value}".rstrip()
    if found:
        lines[found[0]] = line
    else:
        lines.insert(start, line)


def edit(file: Path, options: list[tuple[str, str, str]]) -> None:
    """Set (section, key, value) options in file, written in place so that owner and mode stay."""
    lines = file.read_text(encoding="utf-8").split("\n")
    for section, key, value in options:
        set_option(lines, section, key, value)
    file.write_text("\n".join(lines), encoding="utf-8")


def _key(line: str) -> str:
    return "" if line.startswith(("#", " ", "\t")) else line.partition("=")[0].strip()


def _main() -> None:
    options = []
    for line in sys.stdin:
        section, key, value = [*line.rstrip("\n").split(" ", 2), ""][:3]
        options.append((section, key, value))
    edit(Path(sys.argv[1]), options)


if __name__ == "__main__":
    _main()

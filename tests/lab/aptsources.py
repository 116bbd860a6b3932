"""Where packages come from: the machine's own apt configuration, narrowed to Debian bookworm.

The lab's images are always Debian 12, whatever the machine is. No registry's address is written into the
project: it is read here, from /etc/apt, each time images are built.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.shell import sh

RELEASE = "bookworm"
_SUITES = {RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security", f"{RELEASE}/updates"}
_OVERRIDE = "HYBRIDMSG_LAB_APT_SOURCES"
_ONE_LINE = re.compile(r"deb\s+(?P<options>\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.+)")
_KEY_PATH = re.compile(r"(signed-by\s*[:=]\s*)(/[^\s\],]+)", re.IGNORECASE)
_REMEDY = (
    f"The lab's hosts are Debian 12, so apt sources for {RELEASE} are needed and /etc/apt has none. "
    f'Put one-line entries ("deb ADDRESS {RELEASE} main") into a file ending in .list, or stanzas into one '
    f"ending in .sources, and name it in the environment variable {_OVERRIDE}"
)


def sources() -> tuple[str, list[str]]:
    """Return the machine's bookworm sources: deb822 text, and one-line entries."""
    stanzas: list[str] = []
    lines: list[str] = []
    for file in _files():
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.suffix == ".sources":
            stanzas.extend(_stanzas(text))
        else:
            lines.extend(_lines(text))
    if not stanzas and not lines:
        raise LabError(_REMEDY)
    return "\n\n".join(stanzas), lines


def write(directory: Path) -> list[Path]:
    """Write the sources as apt files into directory (made anew); return them."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    deb822, lines = sources()
    written = []
    for name, text in (("machine.sources", deb822), ("machine.list", "\n".join(lines))):
        if text:
            (directory / name).write_text(text + "\n", encoding="utf-8")
            written.append(directory / name)
    return written


def relocate_keys(files: list[Path], keys: Path, seen_as: str) -> None:
    """Copy the keys that the sources name into keys and rewrite the sources to find them under seen_as."""
    keys.mkdir(parents=True, exist_ok=True)

    def move(match: re.Match[str]) -> str:
        key = Path(match[2])
        shutil.copyfile(key, keys / key.name)
        return f"{match[1]}{seen_as}/{key.name}"

    for file in files:
        file.write_text(_KEY_PATH.sub(move, file.read_text(encoding="utf-8")), encoding="utf-8")


def transport_options() -> list[str]:
    """Return, as apt.conf lines, the machine's settings for reaching its sources: proxies, retries, clock."""
    dump = sh(["apt-config", "dump"]).stdout.decode()
    wanted = re.compile(r"Acquire::(?!IndexTargets|Changelogs|Languages)\S+ \".+\";")
    return [line for line in dump.splitlines() if wanted.fullmatch(line)]


def _files() -> list[Path]:
    override = os.environ.get(_OVERRIDE)
    if override:
        if not Path(override).is_file():
            raise LabError(f"{_OVERRIDE}={override}: no such file")
        return [Path(override)]
    etc = Path("/etc/apt")
    found = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    return [file for file in found if file.suffix in (".list", ".sources") and file.is_file()]


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if match and match["suite"] in _SUITES and "main" in match["rest"].split():
            yield line.strip()


def _stanzas(text: str) -> Iterator[str]:
    for stanza in re.split(r"\n\s*\n", text):
        body = "\n".join(line for line in stanza.splitlines() if not line.startswith("#")).strip()
        suites = _field(body, "Suites").split()
        kept = [suite for suite in suites if suite in _SUITES]
        usable = "deb" in _field(body, "Types").split() and "main" in _field(body, "Components").split()
        if kept and usable and _field(body, "Enabled").lower() not in ("no", "false"):
            yield re.sub(r"(?im)^Suites:.*$", f"Suites: {' '.join(kept)}", body)


def _field(stanza: str, name: str) -> str:
    match = re.search(rf"(?im)^{name}:\s*(.*)$", stanza)
    return match[1].strip() if match else ""

"""What reading and editing a long configuration file costs, as ratios to oslo.config's own parser in the same run.

python -m bench.ini [ROUNDS]: a file of 10,000 lines, as oslo-config-generator writes nova.conf. Trust the ratios only.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from oslo_config.iniparser import BaseParser
from rich.console import Console
from rich.table import Table

from deployer.ini import IniFile

LINES = 10_000
SECTIONS = 40
PROSE = "# What this option is for, in the words of its help text, which goes on for a line or two.\n"


class Reader(BaseParser):
    """Keeps all values, as oslo.config's own ConfigParser does."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: dict[str, dict[str, list[list[str]]]] = {}
        self.section = ""

    def new_section(self, section: str) -> None:
        """Enter a section."""
        self.section = section
        self.sections.setdefault(section, {})

    def assignment(self, key: str, value: list[str]) -> None:
        """Keep a value."""
        self.sections[self.section].setdefault(key, []).append(value)


def generated() -> bytes:
    """Return a file of sections, each with commented defaults under their help and an option here and there."""
    lines = []
    for section in range(SECTIONS):
        lines.append(f"[{'DEFAULT' if section == 0 else f'group_{section}'}]\n")
        while len(lines) < (section + 1) * LINES // SECTIONS - 1:
            number = len(lines)
            lines += ["\n", PROSE, "# (string value)\n", f"#option_{number} = a default\n"]
            if number % 9 == 1:
                lines.append(f"option_{number} = a value\n")
        lines.append("driver = messagingv2\n")
    return "".join(lines).encode()


def oslo(data: bytes) -> None:
    """Read only."""
    Reader().parse(data.decode().splitlines())


def parse(data: bytes) -> None:
    """Read only."""
    IniFile.parse(data, "nova.conf")


def edit(data: bytes) -> None:
    """Read, look six options up, write four, render: what the plan of one host does."""
    ini = IniFile.parse(data, "nova.conf")
    for section in ("DEFAULT", "group_7", "group_20", "group_39"):
        ini.get(section, "driver")
    ini.get("DEFAULT", "transport_url")
    ini.get("oslo_messaging_amqp", "ssl")
    ini.set("DEFAULT", "transport_url", "amqp://nova:x@qdr1:5672//nova")
    ini.set("group_20", "driver", "noop")
    ini.set_all("group_39", "driver", ["messagingv2", "log"])
    ini.set("oslo_messaging_amqp", "sasl_mechanisms", "PLAIN")
    ini.render()


ROWS: tuple[tuple[str, Callable[[bytes], None]], ...] = (
    ("parse", parse),
    ("parse, 6 gets, 4 edits, render", edit),
)


def milliseconds(work: Callable[[bytes], None], data: bytes) -> float:
    """Return the CPU time of one call."""
    began = time.process_time()
    work(data)
    return 1000 * (time.process_time() - began)


def main(rounds: int) -> None:
    """Print the table; the two parsers take turns so that a busy machine is busy for both."""
    data = generated()
    table = Table("", "hybridmsg ms", "oslo.config's parser ms", "ratio", title=f"medians of {rounds} rounds")
    for name, ours in ROWS:
        pairs = [(milliseconds(ours, data), milliseconds(oslo, data)) for _ in range(rounds)]
        mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        table.add_row(name, f"{mine:.1f}", f"{theirs:.1f}", f"{mine / theirs:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)

"""The systemd units of a scheduled reconcile, as text. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from deployer.plan.render import render

_SPAN = re.compile(r"(\d+)(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_SHORTEST = 60  # seconds
_LONGEST_RUN = 7200  # seconds: a reconcile that installs brokers, and switches every project
_LONGEST_DELAY = 300  # seconds
_UNIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SCHEDULE = re.compile(r"^Schedule=(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Schedule:
    """A reconcile time after time: absolute paths, spans of time in seconds; `metrics` is a directory, "" for none."""

    name: str
    program: str
    inventory: str
    state_dir: str
    metrics: str
    every: int
    deep_every: int

    @property
    def reports(self) -> Path:
        """Where the reports of its runs are kept."""
        return Path(self.state_dir) / "reports"

    @property
    def metrics_file(self) -> Path | None:
        """The file for node_exporter's textfile collector."""
        return Path(self.metrics) / f"{self.name}.prom" if self.metrics else None

    def command(self) -> list[str]:
        """Return the words of one run."""
        words = [self.program, "reconcile", "--inventory", self.inventory, "--state-dir", self.state_dir]
        words += ["--report", str(self.reports), "--deep-every", f"{self.deep_every}s"]
        return [*words, "--metrics", str(self.metrics_file)] if self.metrics_file else words

    def units(self) -> dict[str, str]:
        """Return the text of each unit by its name."""
        values: dict[str, object] = {
            "unit": self.name,
            "inventory": self.inventory.replace("%", "%%"),
            "command": " ".join(_quoted(word).replace("$", "$$") for word in self.command()),
            "writable": " ".join(_quoted(path) for path in (self.state_dir, self.metrics) if path),
            "longest": f"{_LONGEST_RUN}s",
            "every": f"{self.every}s",
            "delay": f"{min(self.every // 10, _LONGEST_DELAY)}s",
            "schedule": json.dumps(asdict(self)),
        }
        texts = {kind: render(f"hybridmsg-reconcile.{kind}.j2", **values).decode() for kind in ("service", "timer")}
        return {f"{self.name}.{kind}": text for kind, text in texts.items()}


def written_in(service: str) -> Schedule | None:
    """Return the schedule that the text of a service was made from, None when it is none of ours."""
    found = _SCHEDULE.search(service)
    try:
        return Schedule(**json.loads(found.group(1))) if found else None
    except (ValueError, TypeError):
        return None


def seconds(span: str) -> int:
    """Return the seconds of a span of time like 30min or 6h; raises ValueError."""
    found = _SPAN.fullmatch(span)
    if not found:
        raise ValueError(f"{span!r} is no span of time: give a number and s, min, h or d, like 30min")
    value = int(found.group(1)) * _UNITS[found.group(2)]
    if value < _SHORTEST:
        raise ValueError(f"{span}: at least {_SHORTEST}s")
    return value


def unit_name(name: str) -> str:
    """Return the name of a schedule when its units can be called so; raises ValueError."""
    if not _UNIT_NAME.fullmatch(name):
        raise ValueError(f"{name!r}: a name is letters, digits, `-`, `_` and `.`, a letter or digit first")
    return name


def _quoted(word: str) -> str:
    """Return a word as systemd reads it whole: nothing in it is a specifier or an escape."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'

"""A host's running units: real processes, and a stand-in for what systemd says of them."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.agent.conftest import Programs

Daemon = Callable[..., int]
SLEEP = "import time; print(flush=True); time.sleep(60)"


def block(unit: str, **more: object) -> str:
    known: dict[str, object] = {"Id": unit, "Names": unit, "LoadState": "loaded", "ActiveState": "active"}
    known |= {"UnitFileState": "enabled", "MainPID": 0, "NeedDaemonReload": "no", **more}
    return "\n".join(f"{key}={value}" for key, value in known.items())


def systemd(programs: Programs, *blocks: str, otherwise: str = "") -> None:
    text = "\n\n".join(blocks)
    programs.add("systemctl", f"if argv[0] == 'show': print({text!r}); sys.exit(0)\n{otherwise}")

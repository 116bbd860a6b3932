"""The `facts` answer: all that a plan needs of this host, in one exchange that changes nothing."""

from __future__ import annotations

import base64
import platform
import shlex
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from deployer.agent import images, libraries, packages, rabbitmq, units
from deployer.agent.types import Json


def facts(args: Json) -> Json:
    """Return the answer in the shape of docs/architecture.md; RefusedError for a path that is no file."""
    tool = packages.manager()
    found = units.facts(args.get("units") or [])
    asked = libraries.of_units(found.values()) if args.get("libraries") else {}
    return {
        "host": _host(tool),
        "files": _files(args.get("files") or {}, found),
        "units": {name: {**unit, "libraries": asked.get(unit["interpreter"])} for name, unit in found.items()},
        "packages": packages.versions(args.get("packages") or [], tool),
        "rabbitmq": _rabbitmq(args.get("rabbitmq")),
    }


def _host(tool: str | None) -> Json:
    release = _os_release()
    return {
        "hostname": socket.gethostname(),
        "os_id": release.get("ID", ""),
        "os_version": release.get("VERSION_ID", ""),
        "os_like": release.get("ID_LIKE", ""),
        "python": platform.python_version(),
        "package_manager": tool,
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "time": time.time(),
    }


def _os_release() -> dict[str, str]:
    """Read os-release(5); platform has a reader for it only since Python 3.10."""
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.is_file():
            words = shlex.split(path.read_text(), comments=True)
            return dict(word.split("=", 1) for word in words if "=" in word)
    return {}


def _files(asked: Mapping[str, str | None], found: Mapping[str, Json]) -> Json:
    """Return the entry of each file that is asked for or that a unit reads; `asked` has the known sha256 or None."""
    read = dict.fromkeys(path for unit in found.values() for path in (unit["config"] or {"files": ()})["files"])
    return {path: _file(path, known) for path, known in {**read, **asked}.items()}


def _file(path: str, known: str | None) -> Json:
    image = images.read(path)
    if not image.exists:
        return {"exists": False}
    facts_of = image.facts()
    if image.sha256 != known:
        facts_of["content_b64"] = base64.b64encode(image.content).decode()
    return facts_of


def _rabbitmq(asked: object) -> Json | None:
    """`asked` is true, or `{"peers": [hostname]}` to ask for the resolution of names too."""
    if not asked:
        return None
    return rabbitmq.observe(list(asked.get("peers") or []) if isinstance(asked, dict) else [])

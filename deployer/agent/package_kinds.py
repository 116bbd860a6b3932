"""The step kinds that install and remove software; an undo keeps what they did."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping

from deployer.agent import files, packages
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.journal import state_directory
from deployer.agent.run import run
from deployer.agent.types import Prepare, Prepared, Step, StepOutcome

Versions = Mapping[str, "str | None"]

SHOWN = 2000  # characters of a manager's output that are told when all went well
_PACKAGE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_~:-]*\.(deb|rpm)")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PIP_INSTALL = ["-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install"]
_PYTHON_VERSIONS = """
import json, sys
from importlib.metadata import distributions
found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions() if d.metadata["Name"]}
print(json.dumps({name: found.get(name.lower().replace("_", "-")) for name in sys.argv[1:]}))
"""


def _install(step: Step) -> Prepared:
    names, tool = list(step.args["names"]), _tool(step)
    return _change(
        names,
        lambda: packages.versions(names, tool),
        _missing,
        lambda missing: packages.install(missing, tool, _timeout(step)),
    )


def _remove(step: Step) -> Prepared:
    names, tool = list(step.args["names"]), _tool(step)
    return _change(
        names,
        lambda: packages.versions(names, tool),
        lambda found: [name for name, version in found.items() if version is not None],
        lambda present: packages.remove(present, tool, _timeout(step)),
    )


def _upload(step: Step) -> Prepared:
    name, tool = str(step.args["name"]), _tool(step)
    if not _PACKAGE_FILE.fullmatch(step.args["filename"]):
        raise RefusedError(f"{step.args['filename']!r} is not a package file's name", "It must end in .deb or .rpm")

    def install(_missing: list[str]) -> str:
        output = _install_file(step, tool)
        if packages.versions([name], tool)[name] is None:
            raise StepError(f"{step.args['filename']} does not hold the package {name}", "Name the right file", output)
        return output

    return _change([name], lambda: packages.versions([name], tool), _missing, install)


def _install_file(step: Step, tool: str) -> str:
    """Install from a file that is there for no longer than that takes."""
    directory = state_directory() / "upload"
    files.make_directory(directory, 0o700)
    path = str(directory / step.args["filename"])
    content = base64.b64decode(step.args["content_b64"])
    try:
        files.replace(path, files.Wanted(content, 0o600, os.geteuid(), os.getegid()))
        return packages.install([path], tool, _timeout(step))
    finally:
        files.remove(path)


def _python_install(step: Step) -> Prepared:
    names, interpreter = list(step.args["names"]), str(step.args["interpreter"])
    if wrong := [name for name in names if not _DISTRIBUTION.fullmatch(name)]:
        raise RefusedError(f"not a Python package's name: {', '.join(map(repr, wrong))}")
    if not interpreter.startswith("/") or not os.access(interpreter, os.X_OK):
        raise RefusedError(f"{interpreter} is not an interpreter of this host", "Is the unit installed and running?")

    def install(missing: list[str]) -> str:
        done = run([interpreter, *_PIP_INSTALL, *missing], _timeout(step))
        problem = f"pip of {interpreter} cannot install {' '.join(missing)}"
        return done.check(problem, "Check pip's index and proxy on the host, or install them by hand").output

    return _change(names, lambda: _python_versions(interpreter, names), _missing, install)


def _python_versions(interpreter: str, names: list[str]) -> Versions:
    asked = run([interpreter, "-I", "-c", _PYTHON_VERSIONS, *names], packages.QUERY_TIMEOUT)
    versions: Versions = json.loads(asked.check(f"{interpreter} cannot say what is installed for it").stdout)
    return versions


def _change(
    names: Iterable[str],
    look: Callable[[], Versions],
    choose: Callable[[Versions], list[str]],
    act: Callable[[list[str]], str],
) -> Prepared:
    """Return a step that does `act` to those of the packages that `choose` picks from what is there."""
    found = look()

    def carry_out() -> StepOutcome:
        chosen = choose(found)
        if not chosen:
            return StepOutcome(changed=False, after={"versions": found})
        output = act(chosen)
        return StepOutcome(changed=True, output=output[-SHOWN:], after={"versions": look()})

    return Prepared(" ".join(names), carry_out, {"versions": found})


def _missing(found: Versions) -> list[str]:
    return [name for name, version in found.items() if version is None]


def _tool(step: Step) -> str:
    return str(step.args.get("manager") or packages.manager())


def _timeout(step: Step) -> float:
    return float(step.args.get("timeout") or packages.INSTALL_TIMEOUT)


KINDS: dict[str, Prepare] = {
    "package.install": _install,
    "package.remove": _remove,
    "package.upload": _upload,
    "python.install": _python_install,
}

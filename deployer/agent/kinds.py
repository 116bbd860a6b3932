"""The step kinds: what each finds before it acts, and its act."""

from __future__ import annotations

import base64
import grp
import os
import pwd
from pathlib import Path

from deployer.agent import files, images, packages, rabbitmq, router, units
from deployer.agent.errors import RefusedError, StaleError
from deployer.agent.images import Image
from deployer.agent.types import Act, Json, Prepare, Prepared, Step, StepOutcome

UNIT_TIMEOUT = 120.0  # seconds, when the step names none
RUNNING = ("active", "activating", "reloading")
NEW_FILE_MODE = 0o600


def prepare(step: Step) -> Prepared:
    """Look at the host for `step`, changing nothing; raises StaleError, RefusedError if it cannot begin."""
    if step.kind not in _KINDS:
        raise RefusedError(f"unknown step kind {step.kind!r}")
    return _KINDS[step.kind](step)


def check_preimage(step: Step, image: Image) -> None:
    """Raise StaleError when the file is not what the step was planned for."""
    if step.preimage is not None and image.sha256 != step.preimage.get("sha256"):
        raise StaleError(f"{step.args['path']} changed since the plan was made", "Make a new plan", step=step.id)


def _file_write(step: Step) -> Prepared:
    image = images.read(step.args["path"])
    check_preimage(step, image)
    wanted = _wanted(step.args, image)

    def unchanged() -> None:
        if images.read(image.real).facts() != image.facts():
            raise StaleError(f"{image.real} is being changed by somebody else", "Make a new plan", step=step.id)

    def act() -> StepOutcome:
        if wanted.is_now(image):
            return StepOutcome(changed=False, after=image.facts())
        files.make_directory(Path(image.real).parent)
        files.replace(image.real, wanted, unchanged)
        return StepOutcome(changed=True, after=images.read(image.real).facts())

    intended = Image(image.real, exists=True, content=wanted.content)
    after = {"exists": True, "real": image.real, "sha256": intended.sha256}
    return Prepared(image.real, act, image.record(), after, image.content if image.exists else None)


def _wanted(args: Json, image: Image) -> files.Wanted:
    """Return what the file is to be: what the step leaves open is kept, or 0600 root root for a new file."""
    status = image.status
    mode = args.get("mode")
    if mode is None:
        mode = image.mode if status else NEW_FILE_MODE
    uid = status.st_uid if status else os.geteuid()
    gid = status.st_gid if status else os.getegid()
    try:
        uid = pwd.getpwnam(args["user"]).pw_uid if args.get("user") else uid
        gid = grp.getgrnam(args["group"]).gr_gid if args.get("group") else gid
    except KeyError as error:
        raise RefusedError(f"{args['path']}: the host has no user or group {error.args[0]}") from error
    return files.Wanted(base64.b64decode(args["content_b64"]), mode, uid, gid, image.xattrs)


def _package_install(step: Step) -> Prepared:
    names, tool = list(step.args["names"]), step.args.get("manager") or packages.manager()
    found = packages.versions(names, tool)

    def act() -> StepOutcome:
        missing = [name for name, version in found.items() if version is None]
        if not missing:
            return StepOutcome(changed=False, after={"versions": found})
        output = packages.install(missing, str(tool), step.args.get("timeout") or packages.INSTALL_TIMEOUT)
        return StepOutcome(changed=True, output=output[-2000:], after={"versions": packages.versions(names, tool)})

    return Prepared(" ".join(names), act, {"versions": found})


def _unit(step: Step) -> Prepared:
    unit, verb = units.full_name(step.args["unit"]), step.kind.rpartition(".")[2]
    before = units.state(unit)

    def act() -> StepOutcome:
        if not _needed(verb, before):
            return StepOutcome(changed=False, after=before)
        if before["reload_needed"]:
            units.reload()
        output = units.control(verb, unit, step.args.get("timeout") or UNIT_TIMEOUT)
        return StepOutcome(changed=True, output=output, after=units.state(unit))

    return Prepared(unit, act, before)


def _needed(verb: str, before: Json) -> bool:
    if verb == "enable":
        return bool(before["enabled"] != "enabled")
    if verb == "stop":
        return bool(before["active"] not in ("inactive", "failed"))
    return verb == "restart" or bool(before["active"] != "active")


def _rabbitmq(act: Act) -> Prepare:
    return lambda step: Prepared("rabbitmq", lambda: act(step.args))


_KINDS: dict[str, Prepare] = {
    "file.write": _file_write,
    "package.install": _package_install,
    **dict.fromkeys(("unit.start", "unit.stop", "unit.restart", "unit.enable"), _unit),
    **{kind: _rabbitmq(act) for kind, act in rabbitmq.KINDS.items()},
    **router.KINDS,
}

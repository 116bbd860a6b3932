"""The step kinds that change files, and their undo: the before-image is put back as it was."""

from __future__ import annotations

import base64
import grp
import os
import pwd
from pathlib import Path

from deployer.agent import files, images
from deployer.agent.deeds import Check, Deed, Undo
from deployer.agent.errors import RefusedError, StaleError
from deployer.agent.images import Image
from deployer.agent.journal import Journal
from deployer.agent.types import Json, Prepare, Prepared, Step, StepOutcome

NEW_FILE_MODE = 0o600


def check_preimage(step: Step, image: Image) -> None:
    """Raise StaleError when the file is not what the step was planned for."""
    if step.preimage is not None and image.sha256 != step.preimage.get("sha256"):
        raise StaleError(f"{step.args['path']} changed since the plan was made", "Make a new plan", step=step.id)


def _write(step: Step) -> Prepared:
    image = images.read(step.args["path"])
    check_preimage(step, image)
    wanted = _wanted(step.args, image)

    def act() -> StepOutcome:
        if wanted.is_now(image):
            return StepOutcome(changed=False, after=image.facts())
        files.make_directory(Path(image.real).parent)
        files.replace(image.real, wanted, lambda: _check_unchanged(image, step))
        return StepOutcome(changed=True, after=images.read(image.real).facts())

    intended = Image(image.real, exists=True, content=wanted.content)
    after = {"exists": True, "real": image.real, "sha256": intended.sha256}
    return Prepared(image.real, act, image.record(), after, image.content if image.exists else None)


def _remove(step: Step) -> Prepared:
    image = images.read(step.args["path"])
    check_preimage(step, image)
    absent = Image(image.real).facts()

    def act() -> StepOutcome:
        _check_unchanged(image, step)
        files.remove(image.real)
        return StepOutcome(changed=image.exists, after=absent)

    return Prepared(image.real, act, image.record(), absent, image.content if image.exists else None)


def _check_unchanged(image: Image, step: Step) -> None:
    if images.read(image.real).facts() != image.facts():
        raise StaleError(f"{image.real} is being changed by somebody else", "Make a new plan", step=step.id)


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


def _check(deed: Deed) -> None:
    _check_left(deed, images.read(deed.target))


def _check_left(deed: Deed, image: Image) -> None:
    if image.real != deed.target or image.sha256 not in {*deed.left, deed.before.get("sha256")}:
        raise StaleError(f"{deed.target} was changed after the run", "Compare it, then force", step=deed.step)


def _restore(deed: Deed, journal: Journal, force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    image = images.read(deed.target)
    if not force:
        _check_left(deed, image)
    if image.sha256 not in deed.left and image.exists:
        journal.keep(image.content)  # by force over somebody's own work: that is not lost either
    before = deed.before
    if not before["exists"]:
        files.remove(deed.target)
        return StepOutcome(changed=image.exists, after=images.read(deed.target).facts())
    xattrs = {name: base64.b64decode(value) for name, value in before["xattrs_b64"].items()}
    wanted = files.Wanted(journal.blob(before["sha256"]), before["mode"], before["uid"], before["gid"], xattrs)
    changed = not wanted.is_now(image) or image.xattrs != xattrs
    if changed:
        # A package that was removed meanwhile took its directories with it.
        files.make_directory(Path(deed.target).parent)
        files.replace(deed.target, wanted)
    return StepOutcome(changed=changed, after=images.read(deed.target).facts())


KINDS: dict[str, Prepare] = {"file.write": _write, "file.remove": _remove}
UNDO: dict[str, Undo] = dict.fromkeys(KINDS, _restore)
CHECKS: dict[str, Check] = dict.fromkeys(KINDS, _check)

"""The step kinds that change files, and their undo: the before-image is put back as it was."""

from __future__ import annotations

import base64
import grp
import hashlib
import os
import pwd
from dataclasses import replace
from pathlib import Path

from deployer.agent import files, images
from deployer.agent.deeds import Check, Deed, Merged, Undo
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
        if wanted.is_now(image) and not step.args.get("anew"):
            return StepOutcome(changed=False, after=image.facts())
        files.make_directory(Path(image.real).parent)
        files.replace(image.real, wanted, lambda: _check_unchanged(image, step.id))
        return StepOutcome(changed=True, after=images.read(image.real).facts())

    intended = Image(image.real, exists=True, content=wanted.content)
    after = {"exists": True, "real": image.real, "sha256": intended.sha256}
    return Prepared(image.real, act, image.record(), after, image.content if image.exists else None, wanted.content)


def _remove(step: Step) -> Prepared:
    image = images.read(step.args["path"])
    check_preimage(step, image)
    absent = Image(image.real).facts()

    def act() -> StepOutcome:
        _check_unchanged(image, step.id)
        files.remove(image.real)
        return StepOutcome(changed=image.exists, after=absent)

    return Prepared(image.real, act, image.record(), absent, image.content if image.exists else None)


def _check_unchanged(image: Image, step: str) -> None:
    if images.read(image.real).facts() != image.facts():
        raise StaleError(f"{image.real} is being changed by somebody else", "Run again", step=step)


def _wanted(args: Json, image: Image) -> files.Wanted:
    """Return what the file is to be: what the step leaves open is kept, or 0600 root root for a new file."""
    kept = _kept(base64.b64decode(args["content_b64"]), image)
    try:
        uid = pwd.getpwnam(args["user"]).pw_uid if args.get("user") else kept.uid
        gid = grp.getgrnam(args["group"]).gr_gid if args.get("group") else kept.gid
    except KeyError as error:
        raise RefusedError(f"{args['path']}: the host has no user or group {error.args[0]}") from error
    mode = kept.mode if args.get("mode") is None else args["mode"]
    return replace(kept, mode=mode, uid=uid, gid=gid)


def _check(deed: Deed) -> None:
    _check_left(deed, images.read(deed.target))


def _check_left(deed: Deed, image: Image) -> None:
    if deed.merged is not None:
        _check_merged(deed, deed.merged, image)
    elif image.real != deed.target or image.sha256 not in {*deed.left, deed.before.get("sha256")}:
        raise StaleError(f"{deed.target} was changed after the run", "Compare it, then force", step=deed.step)


def _check_merged(deed: Deed, merged: Merged, image: Image) -> None:
    there = None if merged.content is None else hashlib.sha256(merged.content).hexdigest()
    if image.real != deed.target or image.sha256 not in (merged.sha256, there):
        raise StaleError(f"{deed.target} changed since it was compared", "Run again", step=deed.step)


def _restore(deed: Deed, journal: Journal, force: bool) -> StepOutcome:  # noqa: FBT001 - the form of every Undo
    image = images.read(deed.target)
    if deed.superseded:
        return StepOutcome(changed=False, output=f"{deed.target} is put back once", after=image.facts())
    if not force or deed.merged is not None:
        _check_left(deed, image)
    if image.sha256 not in deed.left and image.exists:
        journal.keep(image.content)  # by force over somebody's own work: that is not lost either
    wanted = _wanted_back(deed, journal, image)
    if wanted is None:
        files.remove(deed.target)
        return StepOutcome(changed=image.exists, after=images.read(deed.target).facts())
    changed = not wanted.is_now(image) or image.xattrs != wanted.xattrs
    if changed:
        # A package that was removed meanwhile took its directories with it.
        files.make_directory(Path(deed.target).parent)
        files.replace(deed.target, wanted, lambda: _check_unchanged(image, deed.step))
    return StepOutcome(changed=changed, after=images.read(deed.target).facts())


def _wanted_back(deed: Deed, journal: Journal, image: Image) -> files.Wanted | None:
    """Return what the file is to be again, None: absent. Merged content leaves all else of the file as it is now."""
    content, before = _content_back(deed, journal), deed.before
    if content is None:
        return None
    if before["exists"] and (deed.merged is None or image.status is None):
        xattrs = {name: base64.b64decode(value) for name, value in before["xattrs_b64"].items()}
        return files.Wanted(content, before["mode"], before["uid"], before["gid"], xattrs)
    return _kept(content, image)


def _content_back(deed: Deed, journal: Journal) -> bytes | None:
    if deed.merged is not None:
        return deed.merged.content
    return journal.blob(deed.before["sha256"]) if deed.before["exists"] else None


def _kept(content: bytes, image: Image) -> files.Wanted:
    """Return the content with the file's mode, owner and attributes, or 0600 of the agent's user for a new file."""
    if image.status is None:
        return files.Wanted(content, NEW_FILE_MODE, os.geteuid(), os.getegid())
    return files.Wanted(content, image.mode, image.status.st_uid, image.status.st_gid, image.xattrs)


KINDS: dict[str, Prepare] = {"file.write": _write, "file.remove": _remove}
UNDO: dict[str, Undo] = dict.fromkeys(KINDS, _restore)
CHECKS: dict[str, Check] = dict.fromkeys(KINDS, _check)

"""The users of this host's router: they live in a sasldb, which its Cyrus SASL reads at each login."""

from __future__ import annotations

import base64
import grp
import os
import pwd
import shutil
from pathlib import Path

from deployer.agent import files, images
from deployer.agent.errors import RefusedError
from deployer.agent.run import environment, run
from deployer.agent.types import Prepared, Step, StepOutcome

SASLDB = "/var/lib/qdrouterd/qdrouterd.sasldb"
OWNER = "qdrouterd"  # user and group of the router's process
TIMEOUT = 30.0  # seconds for one call of saslpasswd2
PRIVATE = 0o600


def listed(db: str) -> list[str]:
    """Return the users of a sasldb, like nova@openstack; none when there is no such file or no program to read it."""
    if not Path(db).exists() or not _installed("sasldblistusers2"):
        return []
    printed = run(["sasldblistusers2", "-f", db], TIMEOUT).stdout
    return sorted(line.rpartition(": ")[0] for line in printed.splitlines() if line.endswith(": userPassword"))


def why_refused(user: str, db: str) -> str:
    """Return why a router that reads `db` may refuse `user` (with its realm)."""
    try:
        owner = images.user_name(Path(db).stat().st_uid)
    except FileNotFoundError:
        return f"{db} is missing"
    if owner != OWNER:
        return f"{db} belongs to {owner} and the router cannot read it"
    if not _installed("sasldblistusers2"):
        return f"wrong password, or no such user in {db}"
    return "wrong password" if user in listed(db) else f"no such user in {db}"


def prepare(step: Step) -> Prepared:
    """Look at the sasldb for `sasl.users`; raises RefusedError without saslpasswd2 or the router's user."""
    db = str(step.args["db"])
    if not _installed("saslpasswd2"):
        raise RefusedError("saslpasswd2 is not installed", "Install sasl2-bin (cyrus-sasl on Red Hat)")
    uid, gid = _owner()
    known = listed(db)
    before = {"exists": Path(db).exists(), "users": known}
    wanted = [f"{user}@{step.args['realm']}" for user in step.args["users_b64"]]
    made = {"made": [user for user in wanted if user not in known]}

    def act() -> StepOutcome:
        files.make_directory(Path(db).parent)
        for user, password in step.args["users_b64"].items():
            _set_password(db, step.args["realm"], user, base64.b64decode(password))
        os.chown(db, uid, gid)
        Path(db).chmod(PRIVATE)
        return StepOutcome(changed=True, after={"exists": True, "users": listed(db), **made})

    return Prepared(db, act, before, made)


def _owner() -> tuple[int, int]:
    try:
        return pwd.getpwnam(OWNER).pw_uid, grp.getgrnam(OWNER).gr_gid
    except KeyError as error:
        raise RefusedError(f"the host has no user or group {OWNER}", "Install the router's package first") from error


def _installed(program: str) -> bool:
    return shutil.which(program, path=environment()["PATH"]) is not None


def _set_password(db: str, realm: str, user: str, password: bytes) -> None:
    argv = ["saslpasswd2", "-c", "-p", "-f", db, "-u", realm, "--", user]
    # Made by the first call: nobody else may read it before it has its mode.
    done = run(argv, TIMEOUT, password, umask=0o077)
    done.check(f"the password of {user}@{realm} could not be set in {db}")

"""The single acts that a router's plan is made of, in the agent's step kinds."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.errors import ConfigurationError, Mistake
from deployer.model.deployment import Deployment
from deployer.model.secrets import Secret
from deployer.plan.router_config import FILES, UNIT, USERS, Entity
from deployer.plan.router_member import Difference, Router, WantedFile
from deployer.plan.router_query import login, user_logins
from deployer.plan.steps import Intent

# saslpasswd2 and the PLAIN mechanism, and proton, with which the agent asks the router.
_TOOLS = {
    "apt": ("sasl2-bin", "libsasl2-modules", "python3-qpid-proton"),
    "dnf": ("cyrus-sasl", "cyrus-sasl-plain", "python3-qpid-proton"),
}


def write(router: Router, files: Iterable[WantedFile], *, anew: bool = False) -> tuple[Intent, ...]:
    """Return the writes of these files of the router; `anew` gives them the time of the writing whatever they hold."""
    return tuple(
        Intent(
            "file.write",
            {
                "path": file.path,
                "content_b64": base64.b64encode(file.content).decode(),
                "mode": file.mode,
                "user": file.owner,
                "group": file.owner,
                "anew": anew,
            },
            f"write {file.path}",
            router.files[file.path].preimage(),
        )
        for file in files
    )


def install(deployment: Deployment, router: Router) -> tuple[Intent, ...]:
    """Return the installation of the router and its tools, from a repository or of the file that is at hand.

    Raises ConfigurationError when that file can no longer be read.
    """
    settings, timeout = deployment.router, deployment.timeouts.install
    if settings.package_file is None:
        return (_packages(router, (*_tools(router), settings.package), timeout),)
    upload = {
        "filename": settings.package_file.name,
        "content_b64": base64.b64encode(_read(settings.package_file)).decode(),
        "manager": router.package_manager,
        "name": settings.package,
        "timeout": timeout,
    }
    return (
        _packages(router, _tools(router), timeout),
        Intent("package.upload", upload, f"install {settings.package_file.name}"),
    )


def install_tools(deployment: Deployment, router: Router) -> tuple[Intent, ...]:
    """Return the installation of the tools beside a router that is there; nothing without a package manager."""
    tools = _tools(router)
    return (_packages(router, tools, deployment.timeouts.install),) if tools else ()


def set_users(deployment: Deployment, users: Mapping[str, Secret]) -> tuple[Intent, ...]:
    """Return the setting of these users' passwords, which takes effect at once."""
    encoded = {user: base64.b64encode(password.reveal().encode()).decode() for user, password in users.items()}
    args = {"db": USERS, "realm": deployment.router.realm, "users_b64": encoded}
    return (Intent("sasl.users", args, f"set the passwords of {', '.join(users)}"),)


def bring_up(deployment: Deployment, router: Router, nodes: Sequence[str]) -> tuple[Intent, ...]:
    """Return the restart of a router with its files, and the wait for it and all `nodes` (ids) in its mesh.

    A new one is restarted too: its package may have started it already, before it had a password and users. A file that
    is newer than the router is written anew: one from the future would have it restarted again and again.
    """
    outdated = router.outdated(*router.files_at_start)
    return (
        *write(router, outdated),
        *write(router, (file for file in router.newer_files if file not in outdated), anew=True),
        Intent("unit.enable", {"unit": UNIT}, f"start {UNIT} at boot"),
        Intent("unit.restart", {"unit": UNIT, "timeout": deployment.timeouts.step}, f"restart {UNIT}"),
        await_router(deployment, router, nodes),
    )


def change_live(deployment: Deployment, router: Router) -> tuple[Intent, ...]:
    """Return what makes the running router, and its files for the next start, what is wanted."""
    difference = router.difference
    update = (_update(deployment, router, difference),) if difference else ()
    return (*update, *write(router, router.outdated(*FILES)))


def await_router(deployment: Deployment, router: Router, nodes: Sequence[str]) -> Intent:
    """Return the wait until the router lets every user in and has all `nodes` in its mesh.

    Without nodes its links may still be down: the peers that they go to are not as wanted yet.
    """
    args = {
        **login(deployment, router.host),
        "unit": UNIT,
        "logins": user_logins(deployment),
        "nodes": list(nodes),
        "timeout": deployment.timeouts.step,
    }
    what = f"sees {', '.join(nodes)}" if len(nodes) > 1 else "lets its users in"
    return Intent("router.await", args, f"wait until the router {what}")


def _update(deployment: Deployment, router: Router, difference: Difference) -> Intent:
    args = {
        **login(deployment, router.host),
        "delete": [{"type": one.type, "name": one.name} for one in difference.delete],
        "create": [_wire(one) for one in difference.create],
        "timeout": deployment.timeouts.step,
    }
    return Intent("router.update", args, f"change {len(difference)} parts of the running router")


def _wire(entity: Entity) -> dict[str, Any]:
    return {"type": entity.type, "name": entity.name, "attributes": dict(entity.attributes)}


def _tools(router: Router) -> tuple[str, ...]:
    return _TOOLS.get(router.package_manager or "", ())


def _packages(router: Router, names: Sequence[str], timeout: float) -> Intent:
    args = {"names": list(names), "manager": router.package_manager, "timeout": timeout}
    return Intent("package.install", args, f"install {', '.join(names)}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError([Mistake(str(path), "", f"cannot be read: {error.strerror}")]) from None

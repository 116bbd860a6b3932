"""The single acts that a broker's plan is made of, in the agent's step kinds."""

from __future__ import annotations

import base64
import json

from deployer.model.secrets import Secret
from deployer.plan.broker import BrokerChanges
from deployer.plan.cluster_member import CONF, COOKIE, UNIT, Broker
from deployer.plan.steps import Intent


def write_conf(broker: Broker, conf: bytes) -> tuple[Intent, ...]:
    """Return the write of our configuration snippet, nothing when the broker runs with it.

    One that is newer than the broker is written anew: one from the future would have it restarted again and again.
    """
    if broker.has_conf(conf) and not broker.conf_is_newer:
        return ()
    args = {"path": CONF, "content_b64": _b64(conf), "mode": 0o644, "user": "root", "group": "root", "anew": True}
    return (Intent("file.write", args, "listener and partition handling", {"sha256": broker.conf_sha256}),)


def install(broker: Broker, package: str, timeout: float) -> tuple[Intent, ...]:
    """Return the installation; the unit is enabled, for dnf leaves that to the administrator."""
    return (
        Intent(
            "package.install",
            {"names": [package], "manager": broker.package_manager, "timeout": timeout},
            f"install {package}",
        ),
        Intent("unit.enable", {"unit": UNIT}, f"start {UNIT} at boot"),
    )


def bring_up(timeout: float) -> tuple[Intent, ...]:
    """Return the start of the broker and the wait for it."""
    return (Intent("unit.start", {"unit": UNIT, "timeout": timeout}, f"start {UNIT}"), await_broker(timeout))


def restart(timeout: float) -> Intent:
    """Return the restart of the broker."""
    return Intent("unit.restart", {"unit": UNIT, "timeout": timeout}, f"restart {UNIT} with its configuration")


def await_broker(timeout: float) -> Intent:
    """Return the wait until the broker serves."""
    return Intent("rabbitmq.await", {"timeout": timeout}, "wait until the broker is up")


def replace_cookie(broker: Broker, cookie: Secret, timeout: float) -> tuple[Intent, ...]:
    """Return stop, write, start: rabbitmqctl with the new cookie cannot stop a node with the old one."""
    return (
        Intent("unit.stop", {"unit": UNIT, "timeout": timeout}, f"stop {UNIT} to change its cookie"),
        _write_cookie(broker, cookie, owner="rabbitmq"),
        *bring_up(timeout),
    )


def give_cookie(broker: Broker, cookie: Secret) -> tuple[Intent, ...]:
    """Return the write of the cookie before the package: Debian's postinst keeps it and gives it to user rabbitmq."""
    if broker.cookie == cookie:
        return ()
    return (_write_cookie(broker, cookie, owner="root"),)


def join(seed: str) -> tuple[Intent, ...]:
    """Return the joining of the cluster that the node `seed` is in."""
    return (Intent("rabbitmq.join", {"seed": seed}, f"join the cluster of {seed}"),)


def import_definitions(changes: BrokerChanges) -> tuple[Intent, ...]:
    """Return the import of what the broker lacks."""
    args = {"definitions_b64": _b64(json.dumps(changes.document()).encode())}
    return (Intent("rabbitmq.import", args, f"import definitions: {len(changes.describe())} changes"),)


def _write_cookie(broker: Broker, cookie: Secret, owner: str) -> Intent:
    content = _b64(cookie.reveal().encode())
    args = {"path": COOKIE, "content_b64": content, "mode": 0o400, "user": owner, "group": owner}
    return Intent("file.write", args, "the cluster's Erlang cookie", {"sha256": broker.cookie_sha256})


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()

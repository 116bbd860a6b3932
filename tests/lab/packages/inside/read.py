"""Starts one service on each of some configuration files and prints what it read: JSON, one answer a file.

python3 -m inside.read PROJECT FILE..., where the service's packages are unpacked; nothing connects to anything.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

import oslo_messaging
import oslo_messaging.transport
from oslo_config import cfg

from .starts import STARTS

_GROUPS = {"ProtonDriver": "oslo_messaging_amqp", "RabbitDriver": "oslo_messaging_rabbit"}


def read(project: str, file: str) -> dict[str, Any]:
    """Start the service on the file; return its transports, its notifiers and every option that it has registered.

    `own` has the transports that the service itself made, by RPCTransport or NotificationTransport; `rpc` and `notify`
    are what any of its code gets that asks for one. `notifiers` are its own: the driver below each, and its drivers.
    """
    sys.argv = [project, "--config-file", file]
    transports, notifiers = _record_transports(), _record_notifiers()
    conf = STARTS[project](sys.argv)
    own, notifying = list(transports), list(notifiers)
    rpc, notify = oslo_messaging.get_rpc_transport(conf), oslo_messaging.get_notification_transport(conf)
    return {
        "own": [[type(one).__name__, _transport(one)] for one in own],
        "rpc": _transport(rpc),
        "notify": _transport(notify),
        "drivers": sorted(oslo_messaging.Notifier(notify, "proof")._driver_names),
        "notifiers": [[_transport(one.transport)["driver"], sorted(one._driver_names)] for one in notifying],
        "exchange": conf.control_exchange,
        "options": _options(conf),
    }


def _record_transports() -> list[Any]:
    made: list[Any] = []
    make = oslo_messaging.transport._get_transport

    def record(*args: Any, **kwargs: Any) -> Any:
        made.append(make(*args, **kwargs))
        return made[-1]

    oslo_messaging.transport._get_transport = record
    return made


def _record_notifiers() -> list[Any]:
    made: list[Any] = []
    init = oslo_messaging.Notifier.__init__

    def record(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(self)

    oslo_messaging.Notifier.__init__ = record
    return made


def _transport(transport: Any) -> dict[str, Any]:
    driver = transport._driver
    name, url = type(driver).__name__, driver._url
    # The driver's own view, where what the URL's query says goes before the file.
    conf = driver._conf if name == "ProtonDriver" else driver.conf
    return {
        "driver": name,
        "hosts": [[host.hostname, host.port, host.username, host.password] for host in url.hosts],
        "vhost": url.virtual_host,
        "settings": dict(conf[_GROUPS[name]]),
    }


def _options(conf: Any) -> dict[str, str]:
    """Return every option the service has registered, "group.name" -> its value, or what is wrong with it."""
    own = {f"DEFAULT.{name}": _value(conf, name, None) for name in conf._opts}
    groups = [(title, group, name) for title, group in conf._groups.items() for name in group._opts]
    return {**{f"{title}.{name}": _value(conf, name, group) for title, group, name in groups}, **own}


def _value(conf: Any, name: str, group: Any) -> str:
    try:
        return repr(conf._get(name, group))
    except (cfg.Error, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _in_a_child(project: str, file: str) -> dict[str, Any]:
    """Read in a process of its own: a service's options are global, and read once."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.dup2(2, 1)  # some log to stdout
        try:
            answer = read(project, file)
        except BaseException:  # noqa: BLE001 - whatever ends the service, SystemExit too, is the answer
            answer = {"failed": traceback.format_exc()}
        with open(writer, "w", encoding="utf-8") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        found: dict[str, Any] = json.load(pipe)
    os.wait()
    return found


if __name__ == "__main__":
    json.dump([_in_a_child(sys.argv[1], file) for file in sys.argv[2:]], sys.stdout)

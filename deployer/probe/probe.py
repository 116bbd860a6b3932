"""Runs in a service's own interpreter: pings RPC servers and sends a notification round, as that service would.

One JSON request line on stdin, one answer line on stdout behind MARK:

    {"config_files": [path], "config_dirs": [path], "exchange": the service's default exchange, "context": {...},
     "url": null or a transport URL instead of [DEFAULT] transport_url, "targets": [{"topic", "server"}],
     "timeout": seconds for all of it, "notify": null or {"topic", "url": null or URL, "publisher"}}

    {"targets": [{"topic", "server", "answered": bool, "how": "pong" or the remote exception's class,
                  "ms": float or null, "error": null or text}],
     "notify": null or {"delivered": bool, "ms", "error", "queue_deleted": bool: nothing is left on the broker},
     "versions": {"oslo.messaging", "python"}, "effective": what the service's files come to, see _effective()}

Any exception that came back from the server proves the round trip: rpc_ping_enabled is False by default, and a
server without it answers NoSuchMethod or UnsupportedVersion. For oslo.messaging 12 to 18, Python 3.8 and later.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import socket
import sys
import threading
import time
import uuid
from importlib import import_module, metadata
from typing import Any, Callable  # noqa: UP035 - Python 3.8 cannot subscript the one of collections.abc
from urllib.parse import quote, unquote

MARK = "hybridmsg-probe "
TRY = 2.0  # seconds for one ping: the first may have been sent before the server's queue was there
PACE = 0.3  # seconds before the next try, for tries that fail at once
RESERVE = 1.5  # seconds kept for starting up and for writing the answer
CLEANUP = 4.0  # seconds kept for deleting the notification queue
CONNECTIONS = 8  # at most to the RPC bus, however many servers are asked
REPLY_QUEUE_TTL = 60  # seconds that RabbitMQ keeps our reply queue afterwards; the default is half an hour
LOGGED = 160  # characters of a log message: some carry a whole notification behind what they say
# The amqp driver's last lines after a refused login, and after each ping: they would hide the cause above them.
ECHOES = ("failed: timed out", "called on destroyed connection!")
SHOWN = 3  # characters: shorter pieces of a password say nothing, and hiding them would garble every text
_CREDENTIALS = re.compile(r"://\S*@")
_PASSWORD = re.compile(r":([^:@]+)@")
_REMOTE_TRACE = "Traceback (most recent call last)"

Question = Callable[["Probe", "dict[str, Any]", Any, Any], None]  # probe, result to fill in, configuration, transport


class LastWords(logging.Handler):
    """Keeps the last warning: a driver that cannot connect tries for ever and says why in its log only."""

    text: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text, and what it was logged for."""
        if not record.getMessage().endswith(ECHOES):
            cause = _describe(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
            self.text = " ".join(part for part in (record.getMessage()[:LOGGED], cause) if part)


class Receiver:
    """The notification listener's endpoint; `seen` is set when the notification with `token` arrives."""

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex
        self.seen = threading.Event()

    def info(self, _context: Any, _publisher: Any, _event: Any, payload: Any, _metadata: Any) -> None:
        """Take a notification of priority info (the method's name is oslo.messaging's interface)."""
        if payload.get("token") == self.token:
            self.seen.set()


class Probe:
    """One request, and its answer as far as it is known."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        timeout = float(request["timeout"])
        self.deadline = time.monotonic() + max(timeout - RESERVE, timeout / 2)
        self.last_words = LastWords(logging.WARNING)
        self.targets = [{**one, "answered": False, "how": "", "ms": None, "error": None} for one in request["targets"]]
        self.notify: dict[str, Any] | None = None
        if request.get("notify"):
            self.notify = {"delivered": False, "ms": None, "error": None, "queue_deleted": True}
        self.effective: dict[str, Any] = {}
        self.secrets: list[str] = []
        self.version: str | None = None
        # Not Thread.join(): importing eventlet (a driver does) in a thread takes that thread's end from its joiner.
        self.done = threading.Event()
        self._ended = threading.Semaphore(0)

    def left(self) -> float:
        """Return the seconds until the answer is due."""
        return self.deadline - time.monotonic()

    def run(self) -> None:
        """Ask everything at once and set `done` when all is answered; a broker that is not there may hold it up."""
        logging.getLogger().addHandler(self.last_words)
        questions: list[tuple[dict[str, Any], Question]] = [(target, _ping) for target in self.targets]
        if self.notify is not None:
            questions.append((self.notify, _notification_round))
        try:
            conf = _configure(self.request)
            self.secrets = _secrets(conf, self.request)
            self.version = metadata.version("oslo.messaging")
            self.effective = _effective(conf, self.request)
            rpc = _library().get_rpc_transport(conf, url=self.request["url"])
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
            for result, _ in questions:
                result["error"] = _describe(error)
        else:
            for result, question in questions:
                threading.Thread(target=self._guard, args=(question, result, conf, rpc), daemon=True).start()
            for _ in questions:
                self._ended.acquire()
        self.done.set()

    def _guard(self, question: Question, result: dict[str, Any], conf: Any, rpc: Any) -> None:
        try:
            question(self, result, conf, rpc)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is the finding
            result["error"] = _describe(error)
        self._ended.release()

    def answer(self) -> dict[str, Any]:
        """Return the answer as it stands now."""
        for result in [*self.targets, *([self.notify] if self.notify else [])]:
            if result["error"] or not (result.get("answered") or result.get("delivered")):
                result["error"] = self._why(result["error"])
        return {
            "targets": self.targets,
            "notify": self.notify,
            "versions": {"oslo.messaging": self.version, "python": platform.python_version()},
            "effective": self.effective,
        }

    def _why(self, error: str | None) -> str:
        logged = f"; last log message: {self.last_words.text}" if self.last_words.text else ""
        text = _CREDENTIALS.sub("://***@", (error or f"no answer within {self.request['timeout']:g} s") + logged)
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def _library(name: str = "oslo_messaging") -> Any:
    """Import when the clock is running: a failure is an answer, and a second of imports is part of the timeout."""
    return import_module(name)


def _configure(request: dict[str, Any]) -> Any:
    """Load the service's own files into the global configuration, which oslo.messaging's dispatcher reads too."""
    oslo_messaging, cfg, opts = _library(), _library("oslo_config.cfg"), _library("oslo_messaging.opts")
    # oslo.config's environment source: the driver registers these options and reads them in one go.
    os.environ["OS_OSLO_MESSAGING_RABBIT__RPC_CONN_POOL_SIZE"] = str(CONNECTIONS)
    os.environ["OS_OSLO_MESSAGING_RABBIT__RABBIT_TRANSIENT_QUEUES_TTL"] = str(REPLY_QUEUE_TTL)
    oslo_messaging.set_transport_defaults(request["exchange"])
    for group, known in opts.list_opts():
        cfg.CONF.register_opts(known, group)
    cfg.CONF.register_opt(cfg.StrOpt("host", default=socket.gethostname()))
    options = [(name, path) for name in ("file", "dir") for path in request[f"config_{name}s"]]
    cfg.CONF(
        [f"--config-{name}={path}" for name, path in options],
        project="hybridmsg-probe",
        default_config_files=[],
        default_config_dirs=[],
    )
    return cfg.CONF


def _effective(conf: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return what the service's files come to, without credentials."""
    oslo_messaging = _library()
    asked = (request.get("notify") or {}).get("url")
    rpc_url = oslo_messaging.TransportURL.parse(conf, request["url"])
    notifications = conf.oslo_messaging_notifications
    notify_url = oslo_messaging.TransportURL.parse(conf, asked or notifications.transport_url)
    return {
        "rpc_driver": rpc_url.transport,
        "rpc_hosts": _hosts(rpc_url),
        "notify_transport": notify_url.transport,
        "notify_hosts": _hosts(notify_url),
        "notify_driver": list(notifications.driver),
        "control_exchange": conf.control_exchange,
        "host": _host(conf),
    }


def _secrets(conf: Any, request: dict[str, Any]) -> list[str]:
    """Return the passwords as errors may quote them, longest first: kombu shows what it took for a port, encoded."""
    asked = request.get("notify") or {}
    urls = (request["url"], asked.get("url"), conf.transport_url, conf.oslo_messaging_notifications.transport_url)
    plain = [unquote(password) for url in urls if url for password in _PASSWORD.findall(url)]
    forms = {form for text in plain for form in (text, quote(text), quote(text, safe=""))}
    pieces = {piece for form in forms for piece in (form, *re.split("[/?#]", form)) if len(piece) >= SHOWN}
    return sorted(pieces, key=len, reverse=True)


def _host(conf: Any) -> str | None:
    try:
        return str(conf.host)
    except _library("oslo_config.cfg").Error:
        return None  # It refers to an option that only the service itself registers, such as $my_ip.


def _hosts(url: Any) -> list[str]:
    return [f"{host.hostname}:{host.port}" for host in url.hosts]


def _ping(probe: Probe, result: dict[str, Any], _conf: Any, transport: Any) -> None:
    """Ask one server until it answers or the time is over."""
    oslo_messaging = _library()
    make = getattr(oslo_messaging, "get_rpc_client", None) or oslo_messaging.RPCClient
    client = make(transport, oslo_messaging.Target(topic=result["topic"], server=result["server"]))
    while probe.left() > 0:
        began = time.monotonic()
        try:
            asking = client.prepare(timeout=min(TRY, max(probe.left(), 0.1)))
            how: str | None = str(asking.call(probe.request["context"], "oslo_rpc_server_ping"))
        except Exception as error:  # noqa: BLE001 - the remote side may raise anything, and anything proves it
            how = _remote_class(error)
            if how is None:
                result["error"] = _describe(error)
                if isinstance(error, ValueError):  # A URL that cannot be read now cannot be read later.
                    return
                time.sleep(max(0.0, PACE - (time.monotonic() - began)))
                continue
        result.update(answered=True, how=how, error=None, ms=round((time.monotonic() - began) * 1000, 1))
        return


def _remote_class(error: Exception) -> str | None:
    """Return the class of an exception that the server raised, None for one of our own side."""
    remote = getattr(error, "exc_type", None)
    if remote:
        return str(remote)
    # Rebuilt from a class that is known here: oslo.messaging marks its name, or else has the trace in its text.
    name = type(error).__name__
    if name.endswith("_Remote"):
        return name[: -len("_Remote")]
    return name if _REMOTE_TRACE in str(error) else None


def _notification_round(probe: Probe, result: dict[str, Any], conf: Any, _rpc: Any) -> None:
    """Publish one notification on a topic of its own, read it back, and leave no queue behind."""
    oslo_messaging = _library()
    asked = probe.request["notify"]
    transport = oslo_messaging.get_notification_transport(conf, url=asked["url"])
    receiver, targets = Receiver(), [oslo_messaging.Target(topic=asked["topic"])]
    listener = oslo_messaging.get_notification_listener(transport, targets, [receiver], executor="threading")
    listener.start()
    result["queue_deleted"] = False
    try:
        notifier = oslo_messaging.Notifier(transport, asked["publisher"], driver="messagingv2", topics=[asked["topic"]])
        until = time.monotonic() + max(probe.left() - CLEANUP, probe.left() / 2)
        result["error"] = "no notification came back"
        # Again and again: with one of several brokers down, oslo.messaging 14 loses what meets that one first.
        while not result["delivered"] and time.monotonic() < until:
            began = time.monotonic()
            notifier.info({}, "hybridmsg.probe", {"token": receiver.token})
            if receiver.seen.wait(min(TRY, max(until - time.monotonic(), 0.1))):
                result.update(delivered=True, error=None, ms=round((time.monotonic() - began) * 1000, 1))
    finally:
        # Stopped first: a listener whose queue vanishes declares it again.
        listener.stop()
        listener.wait()
        _delete_queue(transport, f"{asked['topic']}.info")
        result["queue_deleted"] = True


def _delete_queue(transport: Any, name: str) -> None:
    """Delete the queue over a connection with the driver's own settings; only RabbitMQ keeps one."""
    driver = transport._driver  # noqa: SLF001 - oslo.messaging has no public way to its connection or to a queue
    if isinstance(driver, _library("oslo_messaging._drivers.impl_rabbit").RabbitDriver):
        purpose = _library("oslo_messaging._drivers.common").PURPOSE_SEND
        with driver._get_connection(purpose) as pooled, pooled.connection.connection.clone() as connection:  # noqa: SLF001 - see above
            connection.ensure_connection(max_retries=1)
            connection.default_channel.queue_delete(name)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip()


def main() -> None:
    """Answer the request on stdin, at the latest when its time is over, and leave."""
    probe = Probe(json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=probe.run, daemon=True).start()
    probe.done.wait(max(probe.left(), 0.0))
    sys.stdout.write(f"\n{MARK}{json.dumps(probe.answer())}\n")
    sys.stdout.flush()
    # A driver's threads may wait for ever for a broker that is not there: no interpreter's end waits for them.
    os._exit(0)


if __name__ == "__main__":
    main()

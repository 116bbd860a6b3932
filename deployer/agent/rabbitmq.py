"""RabbitMQ on this host: what it holds, and the step kinds of its membership.

Each rabbitmqctl call starts an Erlang VM (0.6-3 s), so all that is asked is asked in three calls at once.
Debian's rabbitmqctl passes its arguments through `sh -c` as user rabbitmq: none may hold $, ` or a backslash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deployer.agent.errors import RefusedError, StaleError, StepError
from deployer.agent.run import Completed, environment, run
from deployer.agent.types import Act, Json, StepOutcome

COOKIE = "/var/lib/rabbitmq/.erlang.cookie"
ASK_TIMEOUT = 60.0  # seconds for a question
ACT_TIMEOUT = 300.0  # seconds for stop_app, join_cluster, start_app, import_definitions each
RETRY_PAUSE = 1.0  # seconds between two questions to a node that does not answer yet
_NODE = re.compile(r"[\w.-]+@[\w.-]+")
# One expression instead of a list_... for every vhost: list_vhosts, list_queues and list_connections call these
# functions too. A peer's host is an address, or its name where RabbitMQ looks names up (reverse_dns_lookups).
_QUEUES = (
    "Text = fun(H) when is_tuple(H) -> list_to_binary(inet:ntoa(H)); "
    '(H) -> iolist_to_binary(io_lib:format("~ts", [H])) end, '
    'io:format("~ts", [rabbit_json:encode(#{node => node(), queues => '
    "[#{vhost => V, queue => N, consumers => C} || V <- rabbit_vhost:list_names(), "
    "[{name, {resource, _, queue, N}}, {consumers, C}] <- "
    "rabbit_amqqueue:info_all(V, [name, consumers])], connections => "
    "[#{vhost => Text(V), user => Text(U), peer_host => Text(H), peer_port => P, name => Text(N)} || "
    "[{vhost, V}, {user, U}, {peer_host, H}, {peer_port, P}, {name, N}] <- "
    "rabbit_networking:connection_info_all([vhost, user, peer_host, peer_port, name])]})])."
)
# What a broker has before anybody used it; RabbitMQ 3.11 and later give each cluster an id of its own.
_DEFAULTS = {
    "vhosts": {"/"},
    "users": {"guest"},
    "global_parameters": {"internal_cluster_id", "cluster_name"},
}
_HELD = ("vhosts", "users", "queues", "exchanges", "bindings", "policies", "parameters", "global_parameters")


def observe(peers: Sequence[str]) -> Json:
    """Return the `rabbitmq` facts of docs/architecture.md; raises StepError when a running one is silent."""
    installed = _installed()
    with ThreadPoolExecutor(max_workers=len(peers) + 3) as pool:
        resolved = {peer: pool.submit(_resolves, peer) for peer in peers}
        broker = _ask(pool) if installed else {}
        resolves = {peer: answer.result() for peer, answer in resolved.items()}
    return {**_nothing(), **_cookie(), "installed": installed, "resolves": resolves, **broker}


def join(args: Json) -> StepOutcome:
    """Join the cluster of node `seed`; raises StaleError, having done nothing, when that would erase data."""
    seed = str(args["seed"])
    if not _NODE.fullmatch(seed):
        raise RefusedError(f"{seed!r} is no node name")
    facts = observe([])
    if seed in facts["members"]:
        return StepOutcome(changed=False, after={"members": facts["members"]})
    if not facts["running"]:
        raise StaleError("RabbitMQ does not run here any more", "Plan again")
    if not facts["empty"]:
        raise StaleError("RabbitMQ holds something since it was looked at: joining would erase it", "Plan again")
    ctl(["stop_app"], ACT_TIMEOUT).check("RabbitMQ cannot be stopped to join")
    joined = ctl(["join_cluster", seed], ACT_TIMEOUT)
    # Started in any case: a refused join leaves the broker as it was.
    ctl(["start_app"], ACT_TIMEOUT).check("RabbitMQ does not start again")
    joined.check(f"joining the cluster of {seed} failed", "Compare Erlang cookies, RabbitMQ versions and host names")
    ctl(["await_startup"], ACT_TIMEOUT).check("RabbitMQ does not come up in the cluster")
    return StepOutcome(changed=True, output=joined.output, after={"members": observe([])["members"]})


def await_startup(args: Json) -> StepOutcome:
    """Wait until the broker is up, at most `timeout` seconds; raises StepError with its last answer then."""
    deadline = time.monotonic() + float(args["timeout"])
    while True:
        left = max(deadline - time.monotonic(), 1.0)
        answer = ctl(["await_startup", "--timeout", str(int(left) or 1)], left)
        if answer.ok:
            return StepOutcome(changed=False)
        if time.monotonic() + RETRY_PAUSE >= deadline:
            answer.check("RabbitMQ is not up", "See `journalctl -u rabbitmq-server` and /var/log/rabbitmq")
        # A node that is down gives no event to wait for, and await_startup fails at once.
        time.sleep(RETRY_PAUSE)


def ctl(arguments: Sequence[str], timeout: float, stdin: bytes | None = None) -> Completed:
    """Run rabbitmqctl for at most `timeout` seconds with `stdin`, quietly."""
    return run(["rabbitmqctl", "--quiet", *arguments], timeout, input=stdin)


def json_head(text: str) -> Json:
    """Read the JSON that stands before what `eval` prints as the expression's own value."""
    value, _ = json.JSONDecoder().raw_decode(text)
    return dict(value)


def evaluate(expression: str, request: Json, problem: str, timeout: float) -> Json:
    """Return what `expression` prints, in which Request is `request` as rabbit_json reads it: keys are binaries.

    Raises StepError `problem`.
    """
    encoded = base64.b64encode(json.dumps(request).encode()).decode()
    bound = f'Request = rabbit_json:decode(base64:decode(<<"{encoded}">>)), {expression}'
    return json_head(ctl(["eval", bound], timeout).check(problem, "See its log on the host").stdout)


KINDS: dict[str, Act] = {
    "rabbitmq.join": join,
    "rabbitmq.await": await_startup,
}


def _nothing() -> Json:
    lists: Json = {"members": [], "running_members": [], "consumers": [], "connections": []}
    return {
        "version": None,
        "running": False,
        "node": _default_node(),
        "definitions": None,
        "empty": True,
        **lists,
    }


def _default_node() -> str:
    return "rabbit@" + socket.gethostname().split(".")[0]


def _installed() -> bool:
    return shutil.which("rabbitmqctl", path=environment()["PATH"]) is not None


def _cookie() -> Json:
    try:
        with open(COOKIE, "rb") as file:
            cookie = file.read()
    except FileNotFoundError:
        return {"cookie_sha256": None, "cookie_b64": None}
    encoded = base64.b64encode(cookie).decode()
    return {"cookie_sha256": hashlib.sha256(cookie).hexdigest(), "cookie_b64": encoded}


def _resolves(peer: str) -> bool:
    try:
        socket.getaddrinfo(peer, None)
    except (OSError, UnicodeError):
        return False
    return True


def _ask(pool: ThreadPoolExecutor) -> Json:
    # With the formatter export_definitions would wrap its document in {"message": "..."}.
    questions = (["--formatter", "json", "cluster_status"], ["export_definitions", "-"], ["eval", _QUEUES])
    asked = [pool.submit(ctl, question, ASK_TIMEOUT) for question in questions]
    status, exported, queues = (answer.result() for answer in asked)
    if not status.ok:
        # Down, stopped or without the cookie: nobody can say what it holds.
        return {"version": _offline_version(), "empty": False}
    cluster = json.loads(status.stdout)
    definitions = json.loads(exported.check("RabbitMQ's definitions cannot be read").stdout)
    if not {"vhosts", "users"} <= definitions.keys():
        raise StepError("RabbitMQ exports its definitions in a form that is not known", "Report its version")
    seen = json_head(queues.check("RabbitMQ's queues cannot be listed").stdout)
    members = sorted(cluster["disk_nodes"] + cluster.get("ram_nodes", []))
    return {
        "version": cluster["versions"][seen["node"]]["rabbitmq_version"],
        "running": seen["node"] in cluster["running_nodes"],
        "node": seen["node"],
        "members": members,
        "running_members": sorted(cluster["running_nodes"]),
        "definitions": definitions,
        "empty": not seen["queues"] and len(members) == 1 and not _holds(definitions),
        "consumers": [
            {"vhost": queue["vhost"], "queue": queue["queue"]} for queue in seen["queues"] if queue["consumers"]
        ],
        "connections": seen["connections"],
    }


def _holds(definitions: dict[str, list[Any]]) -> bool:
    """Whether there is anything beyond the defaults."""
    return any(item.get("name") not in _DEFAULTS.get(kind, ()) for kind in _HELD for item in definitions[kind])


def _offline_version() -> str | None:
    answer = ctl(["version"], ASK_TIMEOUT)
    return answer.stdout.strip().splitlines()[-1] if answer.ok and answer.stdout.strip() else None

"""All that is asked of a host before a run, in one exchange: its facts, its state, and whom it is let in by."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from deployer.agent import amqp_login, broker_login, facts, host_state, router
from deployer.agent.endpoint import CredentialsError, Endpoint, LoginError
from deployer.agent.types import Json, Question

PEERS_AT_ONCE = 16


def preflight(args: Json) -> Json:
    """Return the answer to `preflight`: `facts`, `router` (null unless asked), `logins` and, read last, `host`."""
    return {
        "facts": facts.facts(args["facts"]),
        "router": router.observe(args["router"]) if args.get("router") else None,
        **logins(args),
        "host": host_state.state(),
    }


def logins(args: Json) -> Json:
    """Return `{"logins": {id: null, or {"reached", "problem"}}}`: each tried, with `timeout` s for each wait.

    `reached` tells that the peer listens and refuses just this user, or the vhost to it.
    """
    peers: dict[tuple[str, int], list[Json]] = {}
    for one in args["logins"]:
        peers.setdefault((one["host"], one["port"]), []).append(one)
    with ThreadPoolExecutor(max_workers=PEERS_AT_ONCE) as pool:
        answers = list(pool.map(lambda own: _at_one_peer(own, float(args["timeout"])), peers.values()))
    return {"logins": {name: found for answer in answers for name, found in answer.items()}}


def _at_one_peer(asked: Iterable[Json], timeout: float) -> dict[str, Json | None]:
    """Try one user after the other; when the peer cannot be had, the others need not wait for that again."""
    found: dict[str, Json | None] = {}
    lost: Json | None = None
    for one in asked:
        refusal = found[one["id"]] = lost or _refusal(one, timeout)
        lost = refusal if refusal and not refusal["reached"] else None
    return found


def _refusal(one: Json, timeout: float) -> Json | None:
    try:
        _log_in(one, timeout)
    except LoginError as error:
        return {"reached": isinstance(error, CredentialsError), "problem": error.problem}
    return None


def _log_in(one: Json, timeout: float) -> None:
    endpoint = Endpoint(str(one["host"]), int(one["port"]), one["tls_ca"], bool(one["tls"]))
    if one["kind"] == "rabbit":
        broker_login.login(endpoint, one["user"], one["password"], one["vhost"], timeout)
    else:
        amqp_login.login(endpoint, f"{one['user']}@{one['realm']}", one["password"], timeout)


OPS: dict[str, Question] = {"preflight": preflight, "logins": logins}

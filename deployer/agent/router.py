"""The router on this host: its step kinds and the questions about it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from deployer.agent import packages, router_users, units
from deployer.agent.errors import StepError
from deployer.agent.router_access import Access, run_program
from deployer.agent.run import run
from deployer.agent.types import Act, Json, Prepare, Prepared, Question, StepOutcome

RETRY_PAUSE = 0.5  # seconds between two looks at a router that is not ready
UPDATE_TIMEOUT = 30.0
LOG_TIMEOUT = 30.0
ENDED = ("failed", "inactive")


def observe(args: Json) -> Json:
    """Return the answer to `router`: version of `package`, users, logins tried, and the view if `ask` is "view"."""
    access = Access.of(args)
    logins = access.refusals(args["logins"])
    answer = access.ask("view", float(args["timeout"])) if args["ask"] else {"problem": ""}
    return {
        "version": packages.versions([args["package"]], packages.manager())[args["package"]],
        "users": router_users.listed(router_users.SASLDB),
        "logins": logins,
        "view": answer.get("view"),
        "problem": answer["problem"],
    }


def fanout(args: Json) -> Json:
    """Return the answer to `routers`: how often each of `rounds` fanouts from each router came at each."""
    routers = [Access.of({**args, "host": host, "port": port}) for host, port in args["routers"]]
    with ThreadPoolExecutor(max_workers=len(routers)) as pool:
        refused = [text for text in pool.map(Access.own_refusal, routers) if text]
    answer: Json = {"sent": 0, "pairs": [], "problem": "; ".join(refused)}
    if not refused:
        answer |= run_program(routers, "fanout", float(args["timeout"]), rounds=args["rounds"])
    once = not answer["problem"] and all(pair["copies"] == [1, 1] for pair in answer["pairs"])
    return {**answer, "exactly_once": once}


def update(args: Json) -> StepOutcome:
    """Delete, then create entities of the running router; raises StepError telling what was done until then."""
    answer = Access.of(args).ask("update", UPDATE_TIMEOUT, delete=args["delete"], create=args["create"])
    done = "\n".join(answer.get("changed", []))
    if answer["problem"]:
        raise StepError(f"the router refused a change: {answer['problem']}", "A restart takes its file", done)
    return StepOutcome(changed=bool(done), output=done)


def await_ready(args: Json) -> StepOutcome:
    """Wait until the router lets all users in, knows all `nodes` and has its connectors open, `timeout` s at most.

    With no `nodes` its connectors do not count.

    Raises StepError, with all that is missing and the end of the unit's log; at once when the unit has ended.
    """
    access, unit = Access.of(args), units.full_name(args["unit"])
    deadline = time.monotonic() + float(args["timeout"])
    while True:
        state = units.state(unit)["active"]
        missing = [f"{unit} is {state}"] if state in ENDED else _missing(access, args, deadline)
        if not missing:
            return StepOutcome(changed=False)
        if state in ENDED or time.monotonic() + RETRY_PAUSE >= deadline:
            problem = f"the router is not ready: {'; '.join(missing)}"
            raise StepError(problem, f"See journalctl -u {unit}", _log(unit))
        # Neither systemd nor the router tells when a port, a user or a neighbour is there.
        time.sleep(RETRY_PAUSE)


def _missing(access: Access, args: Json, deadline: float) -> list[str]:
    """Return all that keeps the router from being ready, by its name."""
    refused = access.refusals({access.user: access.password, **args["logins"]})
    texts = list(dict.fromkeys(text for text in refused.values() if text))
    if texts:
        return texts
    mesh = access.ask("mesh", max(deadline - time.monotonic(), 1.0))
    if mesh["problem"]:
        return [mesh["problem"]]
    away = [f"router {node} is not in the mesh" for node in args["nodes"] if node not in mesh["nodes"]]
    # Without nodes it may still be alone: the peers that it connects to are not as wanted yet.
    closed = [one for one in mesh["connectors"] if args["nodes"] and one["status"] != "SUCCESS"]
    return away + [f"connector {one['name']} is not open ({one['text'] or one['status']})" for one in closed]


def _log(unit: str) -> str:
    return run(["journalctl", "-q", "--no-pager", "-o", "cat", "-n", "20", "-u", unit], LOG_TIMEOUT).stdout


def _step(act: Act) -> Prepare:
    return lambda step: Prepared("qdrouterd", lambda: act(step.args))


KINDS: dict[str, Prepare] = {
    "sasl.users": router_users.prepare,
    "router.update": _step(update),
    "router.await": _step(await_ready),
}

OPS: dict[str, Question] = {"router": observe, "routers": fanout}

"""The vhosts, users, permissions and policies that a run makes on this host's broker: their import and their removal.

`made` is `{"vhosts": [name], "users": [name], "permissions": [[vhost, user]], "policies": [[vhost, name]]}`: names, and
no secret. They go into the expression as base64 of JSON, as in `queues`.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from deployer.agent.errors import RefusedError, StepError
from deployer.agent.rabbitmq import ACT_TIMEOUT, ASK_TIMEOUT, ctl, evaluate
from deployer.agent.types import Json, Prepare, Prepared, Step, StepOutcome

TARGET = "rabbitmq"
_KEYS = {"vhosts": ("name",), "users": ("name",), "permissions": ("vhost", "user"), "policies": ("vhost", "name")}
# As rabbitmqctl's clear_policy, clear_permissions, delete_user and delete_vhost do it, in one call. Both deletions
# close the connections of who is there, so that is looked at first.
_REMOVE = (
    '#{<<"vhosts">> := Vhosts, <<"users">> := Users, '
    '<<"permissions">> := Permissions, <<"policies">> := Policies} = Request, '
    'By = <<"hybridmsg">>, '
    "There = fun(V) -> rabbit_vhost:exists(V) end, "
    "Known = fun(U) -> rabbit_auth_backend_internal:lookup_user(U) =/= {error, not_found} end, "
    "May = fun(V, U) -> Known(U) andalso lists:any(fun(P) -> proplists:get_value(vhost, P) =:= V end, "
    "rabbit_auth_backend_internal:list_user_permissions(U)) end, "
    "Connected = rabbit_networking:connection_info_all([vhost, user]), "
    "Busy = fun(Key, Names) -> "
    "[N || N <- Names, lists:any(fun(C) -> proplists:get_value(Key, C) =:= N end, Connected)] end, "
    "BusyVhosts = Busy(vhost, Vhosts), BusyUsers = Busy(user, Users), "
    "Removed = case BusyVhosts ++ BusyUsers of [] -> "
    "A = [[V, N] || [V, N] <- Policies, There(V), rabbit_policy:lookup(V, N) =/= not_found, "
    "ok =:= rabbit_policy:delete(V, N, By)], "
    "B = [[V, U] || [V, U] <- Permissions, There(V), May(V, U), "
    "ok =:= rabbit_auth_backend_internal:clear_permissions(U, V, By)], "
    "C = [U || U <- Users, Known(U), ok =:= rabbit_auth_backend_internal:delete_user(U, By)], "
    "D = [V || V <- Vhosts, There(V), ok =:= rabbit_vhost:delete(V, By)], "
    "#{policies => A, permissions => B, users => C, vhosts => D}; _ -> #{} end, "
    'io:format("~ts", [rabbit_json:encode(#{removed => Removed, vhosts => BusyVhosts, users => BusyUsers})]).'
)


def prepare_import(step: Step) -> Prepared:
    """Look which objects of the document `definitions_b64` are there; raises StepError when the broker is silent."""
    document = base64.b64decode(step.args["definitions_b64"])
    wanted = _names(json.loads(document))
    exported = ctl(["export_definitions", "-"], ASK_TIMEOUT).check("RabbitMQ's definitions cannot be read")
    there = _names(json.loads(exported.stdout))
    before = {kind: [name for name in names if name in there[kind]] for kind, names in wanted.items()}
    after = {"made": {kind: [name for name in names if name not in there[kind]] for kind, names in wanted.items()}}
    return Prepared(TARGET, lambda: _import(document, after), before, after)


def prepare_removal(step: Step) -> Prepared:
    """Return the removal of `made`."""
    made: Json = step.args["made"]
    return Prepared(TARGET, lambda: _remove(made), {kind: made[kind] for kind in _KEYS})


def _import(document: bytes, after: Json) -> StepOutcome:
    """Import the document over stdin; what it does not name stays as it is."""
    done = ctl(["import_definitions"], ACT_TIMEOUT, stdin=document)
    if not done.ok:
        # Erlang's error terms may quote the entry that failed, hash and all.
        raise StepError(f"RabbitMQ refused the definitions (exit code {done.returncode})", "See its log on the host")
    return StepOutcome(changed=True, after=after)


def _remove(made: Json) -> StepOutcome:
    """Delete exactly these and skip what is gone; raises RefusedError, nothing done, when somebody is connected."""
    answer = evaluate(
        _REMOVE, {kind: made[kind] for kind in _KEYS}, "RabbitMQ's objects cannot be removed", ACT_TIMEOUT
    )
    busy = [f"vhost {name}" for name in answer["vhosts"]] + [f"user {name}" for name in answer["users"]]
    if busy:
        raise RefusedError(f"somebody is connected: {', '.join(busy)}", "Stop who is, or leave them")
    removed = answer["removed"]
    return StepOutcome(changed=any(removed.values()), after={"removed": removed})


def _names(definitions: Json) -> dict[str, list[Any]]:
    return {kind: [_name(item, keys) for item in definitions.get(kind, [])] for kind, keys in _KEYS.items()}


def _name(item: Json, keys: tuple[str, ...]) -> Any:
    return item[keys[0]] if len(keys) == 1 else [item[key] for key in keys]


KINDS: dict[str, Prepare] = {"rabbitmq.import": prepare_import, "rabbitmq.remove": prepare_removal}

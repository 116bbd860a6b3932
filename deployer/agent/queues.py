"""The RPC queues of a vhost on this host's broker: how full they are, and the step kind that empties some.

Names of vhosts and queues go into the expressions as base64 of JSON: nothing in them can mean anything to Erlang, or to
the shell that Debian's rabbitmqctl passes its arguments through.
"""

from __future__ import annotations

from deployer.agent.rabbitmq import ASK_TIMEOUT, evaluate
from deployer.agent.types import Act, Json, Question, StepOutcome

PURGED_AT_ONCE = 500  # queues in one expression: one argument of a program has at most 128 KiB
# oslo.messaging's RPC queues: topic, topic.server, topic_fanout_uuid. A queue whose node is down has no numbers:
# it is left out, as nobody can read from it.
_READ = (
    '#{<<"vhost">> := V, <<"topics">> := Topics, <<"reads">> := Reads, <<"pause">> := Pause} = Request, '
    "Mine = fun(N) -> lists:any(fun(T) -> N =:= T orelse "
    'string:prefix(N, [T, "."]) =/= nomatch orelse '
    'string:prefix(N, [T, "_fanout_"]) =/= nomatch end, Topics) end, '
    "Read = fun() -> [#{queue => N, ready => R, unacked => U, consumers => C} || "
    "[{name, {resource, _, queue, N}}, {messages_ready, R}, {messages_unacknowledged, U}, {consumers, C}] <- "
    "rabbit_amqqueue:info_all(V, [name, messages_ready, messages_unacknowledged, consumers]), "
    "is_integer(R), Mine(N)] end, "
    "Later = fun(_) -> timer:sleep(Pause), Read() end, "
    'io:format("~ts", [rabbit_json:encode(#{reads => [Read() | lists:map(Later, lists:seq(2, Reads))]})]).'
)
# As `rabbitmqctl purge_queue` does it, for many queues in one call.
_PURGE = (
    '#{<<"vhost">> := V, <<"queues">> := Queues} = Request, '
    "Purge = fun(N) -> case rabbit_amqqueue:lookup(rabbit_misc:r(V, queue, N)) of "
    "{ok, Q} -> {ok, Count} = rabbit_amqqueue:purge(Q), {true, {N, Count}}; _ -> false end end, "
    'io:format("~ts", [rabbit_json:encode(#{purged => maps:from_list(lists:filtermap(Purge, Queues))})]).'
)


def queues(args: Json) -> Json:
    """Return `{"reads": [[{"queue", "ready", "unacked", "consumers"}]]}`: the topics' queues, so many times.

    Raises StepError when the broker does not answer.
    """
    reads, pause = int(args.get("reads") or 3), int(args.get("pause_ms") or 0)
    request = {"vhost": args["vhost"], "topics": list(args["topics"]), "reads": reads, "pause": pause}
    return evaluate(_READ, request, "RabbitMQ's queues cannot be read", ASK_TIMEOUT + reads * pause / 1000)


def purge(args: Json) -> StepOutcome:
    """Drop the messages that are ready in the queues of a vhost; one that is gone is no error. Raises StepError."""
    names, purged = list(args["queues"]), {}
    for start in range(0, len(names), PURGED_AT_ONCE):
        request = {"vhost": args["vhost"], "queues": names[start : start + PURGED_AT_ONCE]}
        purged.update(evaluate(_PURGE, request, "RabbitMQ's queues cannot be purged", ASK_TIMEOUT)["purged"])
    dropped = sum(purged.values())
    return StepOutcome(changed=dropped > 0, output=f"{dropped} messages dropped", after={"purged": purged})


OPS: dict[str, Question] = {"queues": queues}
KINDS: dict[str, Act] = {"rabbitmq.purge": purge}

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from typing import Any

import pytest

from deployer.errors import ConfigurationError
from deployer.model.deployment import BrokerSettings, Deployment, Host, Policy, RabbitCluster, Sourced
from deployer.model.secrets import Secret
from deployer.plan.broker import compare
from deployer.plan.broker_definitions import definitions
from deployer.plan.cluster import BrokersPlan, ClusterPlan, plan_brokers, plan_cluster
from deployer.plan.cluster_member import CONF, COOKIE, UNIT
from deployer.plan.observed import FileFact, HostFacts, UnitFact
from deployer.plan.render import render
from deployer.plan.steps import Wave
from tests.unit.test_broker import deployment

FRESH = Secret("A-COOKIE-OF-THE-SECRETS-FILE")
DEFAULTS: dict[str, Any] = {"vhosts": [{"name": "/"}], "users": [{"name": "guest"}]}
ALL = ("msg1", "msg2", "msg3")


def site(nodes: int = 3) -> Deployment:
    return dataclasses.replace(deployment("nova", nodes=nodes), erlang_cookie=FRESH)


SITE = site()
FULL: dict[str, Any] = compare(definitions(SITE, SITE.clusters[0], "3.10.8"), {}).document()


def bare(host: str, **more: Any) -> HostFacts:
    seen: dict[str, Any] = {
        "installed": False,
        "version": None,
        "running": False,
        "node": f"rabbit@{host}",
        "members": [],
        "running_members": [],
        "cookie_sha256": None,
        "cookie_b64": None,
        "definitions": None,
        "empty": True,
        "consumers": [],
        "resolves": dict.fromkeys(ALL, True),
    }
    absent = {CONF: FileFact(CONF, exists=False)}
    return HostFacts(host, host, package_manager="apt", files=absent, rabbitmq={**seen, **more})


def broker(host: str, *members: str, cookie: str = "", conf: bytes | None = None, **more: Any) -> HostFacts:
    """A running broker, empty and alone unless told otherwise; `cookie` is its own random one by default."""
    content = (cookie or f"random-{host}").encode() + b"\n"
    facts = bare(
        host,
        installed=True,
        version="3.10.8",
        running=True,
        members=[f"rabbit@{member}" for member in members or (host,)],
        cookie_b64=base64.b64encode(content).decode(),
        cookie_sha256=hashlib.sha256(content).hexdigest(),
        definitions=DEFAULTS,
    )
    assert facts.rabbitmq is not None
    facts.rabbitmq.update(more)
    facts.units[UNIT] = UnitFact(UNIT, "loaded", "active", "enabled")
    if conf is not None:
        facts.files[CONF] = FileFact(CONF, exists=True, sha256=hashlib.sha256(conf).hexdigest())
    return facts


def member(host: str, **more: Any) -> HostFacts:
    """A broker of the finished cluster."""
    return broker(host, *ALL, cookie=FRESH.reveal(), **{"empty": False, "definitions": FULL, **more})


def down(host: str, active: str = "inactive") -> HostFacts:
    facts = broker(host, running=False, members=[], definitions=None, empty=False)
    facts.units[UNIT] = UnitFact(UNIT, "loaded", active, "enabled")
    return facts


def plan(*hosts: HostFacts, of: Deployment = SITE) -> ClusterPlan:
    return plan_cluster(of, of.clusters[0], {facts.host: facts for facts in hosts})


def acts(waves: tuple[Wave, ...]) -> list[dict[str, list[str]]]:
    """The kinds of each wave by host."""
    return [{host: [intent.kind for intent in intents] for host, intents in wave.intents.items()} for wave in waves]


def refusal(*hosts: HostFacts) -> str:
    with pytest.raises(ConfigurationError) as caught:
        plan(*hosts)
    return str(caught.value)


INSTALL = ["file.write", "package.install", "unit.enable", "unit.start", "rabbitmq.await"]
INSTALL_WITH_COOKIE = ["file.write", *INSTALL]
COOKIE_ACTS = ["unit.stop", "file.write", "unit.start", "rabbitmq.await"]


def test_a_finished_cluster_needs_nothing() -> None:
    found = plan(*map(member, ALL))

    assert (found.waves, found.expected, found.complete) == ((), (), True)


def test_bare_hosts_are_installed_at_once_and_the_rest_is_shown_as_expected() -> None:
    found = plan(*map(bare, ALL))

    assert acts(found.waves) == [dict.fromkeys(ALL, INSTALL_WITH_COOKIE)]
    assert not found.complete
    assert acts(found.expected) == [
        {"msg2": ["rabbitmq.join"], "msg3": ["rabbitmq.join"]},
        {"msg1": ["rabbitmq.import"]},
    ]


def test_a_package_that_makes_its_own_cookie_is_given_it_afterwards() -> None:
    hosts = [bare(host) for host in ALL]
    found = plan(*(dataclasses.replace(host, package_manager="dnf") for host in hosts))

    assert acts(found.waves) == [dict.fromkeys(ALL, INSTALL)]
    assert acts(found.expected)[0] == dict.fromkeys(ALL, COOKIE_ACTS)


def test_fresh_brokers_share_the_cookie_join_one_after_the_other_and_get_the_definitions() -> None:
    found = plan(*map(broker, ALL))

    cookie, join, definitions_wave = found.waves
    assert found.complete
    assert acts(found.waves) == [
        dict.fromkeys(ALL, COOKIE_ACTS),
        {"msg2": ["rabbitmq.join"], "msg3": ["rabbitmq.join"]},
        {"msg1": ["rabbitmq.import"]},
    ]
    assert (cookie.serial, join.serial, definitions_wave.serial) == (False, True, False)
    assert join.intents["msg3"][0].args == {"seed": "rabbit@msg1"}


def test_the_cookie_is_written_for_rabbitmq_alone_over_the_one_that_was_seen() -> None:
    write = plan(*map(broker, ALL)).waves[0].intents["msg2"][1]

    assert {key: write.args[key] for key in ("path", "mode", "user", "group")} == {
        "path": COOKIE,
        "mode": 0o400,
        "user": "rabbitmq",
        "group": "rabbitmq",
    }
    assert base64.b64decode(write.args["content_b64"]).decode() == FRESH.reveal()
    assert write.preimage == {"sha256": hashlib.sha256(b"random-msg2\n").hexdigest()}


def test_a_host_that_has_the_cookie_already_is_not_stopped_for_it() -> None:
    found = plan(broker("msg1"), broker("msg2", cookie=FRESH.reveal()), broker("msg3"))

    assert list(found.waves[0].intents) == ["msg1", "msg3"]


def test_a_lone_broker_keeps_its_own_cookie() -> None:
    found = plan(broker("msg1"), of=site(nodes=1))

    assert acts(found.waves) == [{"msg1": ["rabbitmq.import"]}]


def test_an_existing_cluster_keeps_its_cookie_and_a_new_host_gets_it() -> None:
    old: dict[str, Any] = {"cookie": "theirs", "empty": False, "definitions": FULL}
    found = plan(broker("msg1"), broker("msg2", "msg2", "msg3", **old), broker("msg3", "msg2", "msg3", **old))

    assert found.seed == "msg2"
    assert acts(found.waves) == [{"msg1": COOKIE_ACTS}, {"msg1": ["rabbitmq.join"]}]
    assert base64.b64decode(found.waves[0].intents["msg1"][1].args["content_b64"]) == b"theirs"
    assert found.waves[1].intents["msg1"][0].args == {"seed": "rabbit@msg2"}


def test_a_broker_that_holds_something_is_the_seed_wherever_it_stands() -> None:
    found = plan(broker("msg1"), broker("msg2"), broker("msg3", empty=False, definitions=FULL))

    assert found.seed == "msg3"
    assert set(found.waves[1].intents) == {"msg1", "msg2"}


def test_a_host_that_holds_something_of_its_own_is_never_joined() -> None:
    theirs = {"vhosts": [{"name": "/"}, {"name": "precious"}], "users": [{"name": "guest"}, {"name": "bob"}]}
    text = refusal(
        member("msg1", members=["rabbit@msg1", "rabbit@msg2"]),
        member("msg2", members=["rabbit@msg1", "rabbit@msg2"]),
        broker("msg3", empty=False, definitions=theirs),
    )

    assert "msg3: is not in the cluster of rabbit@msg1" in text
    assert "vhosts precious; users bob" in text
    assert "rabbitmqctl reset" in text


def test_two_clusters_are_an_error_even_when_both_are_empty() -> None:
    pair = ["rabbit@msg3", "rabbit@elsewhere"]
    first = ["rabbit@msg1", "rabbit@msg2"]
    text = refusal(broker("msg1", members=first), broker("msg2", members=first), broker("msg3", members=pair))

    assert "msg3: is not in the cluster" in text
    assert "a cluster of rabbit@elsewhere, rabbit@msg3" in text


def test_a_member_that_lost_its_data_has_to_be_forgotten_first() -> None:
    text = refusal(member("msg1"), member("msg2"), broker("msg3", cookie=FRESH.reveal()))

    assert "rabbitmqctl forget_cluster_node rabbit@msg3` on msg1" in text


def test_a_peer_that_does_not_resolve_is_named_with_the_remedy() -> None:
    text = refusal(bare("msg1"), bare("msg2", resolves={"msg1": True, "msg2": True, "msg3": False}), bare("msg3"))

    assert "msg2: cannot resolve msg3" in text
    assert "/etc/hosts" in text


def test_two_hosts_with_one_name_are_an_error() -> None:
    assert "rabbit@localhost" in refusal(
        bare("msg1", node="rabbit@localhost"), bare("msg2", node="rabbit@localhost"), bare("msg3")
    )


def test_a_host_without_a_package_manager_we_know_is_an_error_only_when_it_needs_one() -> None:
    odd = dataclasses.replace(bare("msg1"), package_manager=None)

    assert "msg1: has neither apt-get nor dnf" in refusal(odd, member("msg2"), member("msg3"))
    assert not plan(*(dataclasses.replace(member(host), package_manager=None) for host in ALL)).waves


def test_a_stopped_member_is_started_and_nothing_is_guessed_about_it() -> None:
    found = plan(member("msg1"), member("msg2"), down("msg3"))

    assert acts(found.waves) == [{"msg3": ["unit.start", "rabbitmq.await"]}]
    assert (found.expected, found.complete) == ((), False)


def test_next_to_a_stopped_broker_nothing_is_expected_of_bare_hosts_either() -> None:
    found = plan(down("msg1"), bare("msg2"), bare("msg3"))

    assert acts(found.waves) == [{"msg1": ["unit.start", "rabbitmq.await"], "msg2": INSTALL, "msg3": INSTALL}]
    assert (found.expected, found.complete) == ((), False)


def test_a_broker_that_waits_for_a_stopped_peer_is_awaited() -> None:
    found = plan(down("msg1", "active"), down("msg2"), member("msg3"))

    assert set(found.waves[0].intents) == {"msg1", "msg2"}


def test_a_broker_that_is_active_and_serves_nobody_is_an_error() -> None:
    assert "msg1: rabbitmq-server is active, but its broker does not serve" in refusal(
        down("msg1", "active"), member("msg2"), member("msg3")
    )


def test_a_broker_that_somebody_else_installed_keeps_its_configuration() -> None:
    found = plan(*map(broker, ALL))

    written = [
        intent.args["path"]
        for wave in found.waves
        for intents in wave.intents.values()
        for intent in intents
        if intent.kind == "file.write"
    ]
    assert set(written) == {COOKIE}


def test_our_own_configuration_is_changed_one_host_after_the_other() -> None:
    conf = render("rabbitmq.conf.j2", broker=BrokerSettings(), nodes=3)
    moved = dataclasses.replace(SITE, broker=BrokerSettings(port=5673, policies=SITE.broker.policies))
    hosts = [member(host, conf=conf) for host in ALL]

    assert not plan(*hosts).waves
    [wave] = plan(*hosts, of=moved).waves
    assert wave.serial
    assert list(acts((wave,))[0].items()) == [(host, ["file.write", "unit.restart", "rabbitmq.await"]) for host in ALL]


def test_a_configuration_that_came_after_the_start_restarts_its_broker_and_is_written_anew() -> None:
    conf = render("rabbitmq.conf.j2", broker=BrokerSettings(), nodes=3)
    hosts = [member(host, conf=conf) for host in ALL]
    for facts, written in zip(hosts, (99.0, 101.0, 99.0), strict=True):
        facts.units[UNIT] = dataclasses.replace(facts.units[UNIT], started=100.0)
        facts.files[CONF] = dataclasses.replace(facts.files[CONF], mtime_ns=int(written * 1e9))

    [wave] = plan(*hosts).waves
    assert acts((wave,)) == [{"msg2": ["file.write", "unit.restart", "rabbitmq.await"]}]
    assert wave.intents["msg2"][0].args["anew"] is True


def test_an_interrupted_installation_goes_on_without_writing_again() -> None:
    conf = render("rabbitmq.conf.j2", broker=BrokerSettings(), nodes=3)
    half = bare("msg1")
    half.files[CONF] = FileFact(CONF, exists=True, sha256=hashlib.sha256(conf).hexdigest())

    assert acts(plan(half, member("msg2"), member("msg3")).waves) == [{"msg1": INSTALL_WITH_COOKIE[1:]}]


def test_a_password_conflict_is_found_before_anything_is_done() -> None:
    other = {**FULL, "users": [{"name": "nova", "password_hash": "AAAA"}]}

    assert "user nova: exists with another password" in refusal(
        member("msg1", definitions=other), bare("msg2"), bare("msg3")
    )


def test_only_the_missing_definitions_are_imported() -> None:
    lacking = {**FULL, "policies": []}
    found = plan(*(member(host, definitions=lacking) for host in ALL))

    [intent] = found.waves[0].intents["msg1"]
    document = json.loads(base64.b64decode(intent.args["definitions_b64"]))
    assert found.definitions == ("add policy ttl to vhost /nova",)
    assert [(kind, len(items)) for kind, items in document.items()] == [
        ("vhosts", 0),
        ("users", 0),
        ("permissions", 0),
        ("policies", 1),
    ]


def test_without_a_broker_of_ours_there_is_nothing_to_do() -> None:
    none = dataclasses.replace(site(nodes=0), clusters=())
    assert plan_brokers(none, {}) == BrokersPlan({})


def test_no_plan_shows_a_secret() -> None:
    shown = repr(plan(*map(broker, ALL)))

    for secret in (FRESH.reveal(), base64.b64encode(FRESH.reveal().encode()).decode(), "password_hash"):
        assert secret not in shown


NOTIFY = Host("msg9", "10.0.9.9", 22, "root", ("rabbitmq_notify",))
TWO = dataclasses.replace(
    site(nodes=1),
    clusters=(*site(nodes=1).clusters, RabbitCluster("rabbitmq_notify", (NOTIFY,))),
    projects=deployment("nova", "glance").projects,
    variables={
        "oslomsg_notify_host_group": Sourced("rabbitmq_notify", "defaults.yaml:7"),
        "glance_oslomsg_notify_transport": Sourced("none", "defaults.yaml:8"),
        "nova_oslomsg_notify_vhost": Sourced("/notes", "defaults.yaml:9"),
        "oslomsg_notify_policies": Sourced((Policy("short", ".*", {"message-ttl": 1}),), "defaults.yaml:10"),
    },
)


def test_two_clusters_never_join_and_each_has_its_own_definitions() -> None:
    found = plan_brokers(TWO, {"msg1": broker("msg1"), "msg9": broker("msg9")})
    assert {wave.scope: list(wave.intents) for wave in found.waves} == {
        "backend:rabbitmq": ["msg1"],
        "backend:rabbitmq_notify": ["msg9"],
    }
    assert not [
        intent for wave in found.waves for own in wave.intents.values() for intent in own if "join" in intent.kind
    ]
    assert found.definitions == (
        "rabbitmq: add vhost /nova",
        "rabbitmq: add vhost /glance",
        "rabbitmq: add user nova",
        "rabbitmq: add user glance",
        "rabbitmq: let user nova use vhost /nova",
        "rabbitmq: let user glance use vhost /glance",
        "rabbitmq: add policy ttl to vhost /nova",
        "rabbitmq: add policy ttl to vhost /glance",
        "rabbitmq_notify: add vhost /notes",
        "rabbitmq_notify: add user nova",
        "rabbitmq_notify: let user nova use vhost /notes",
        "rabbitmq_notify: add policy short to vhost /notes",
    )


def test_the_obstacles_of_both_clusters_are_told_at_once() -> None:
    taken = {"users": [{"name": "nova", "password_hash": "AAAAAAAA"}]}
    both = {name: broker(name, definitions=taken, empty=False) for name in ("msg1", "msg9")}
    with pytest.raises(ConfigurationError) as caught:
        plan_brokers(TWO, both)
    assert [mistake.file for mistake in caught.value.mistakes] == [
        "RabbitMQ cluster rabbitmq",
        "RabbitMQ cluster rabbitmq_notify",
    ]


def test_a_new_cluster_is_gathered_around_the_setup_host() -> None:
    of = dataclasses.replace(SITE, variables={"nova_oslomsg_rpc_setup_host": Sourced("msg2", "defaults.yaml:7")})
    assert plan_brokers(of, {name: bare(name) for name in ALL}).clusters["rabbitmq"].seed == "msg2"

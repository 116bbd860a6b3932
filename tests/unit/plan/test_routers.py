"""What is done to become the routers that the inventory names: as little as possible, one after the other."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError
from deployer.model.deployment import Deployment, ServerTls
from deployer.model.secrets import Blob, Secret
from deployer.plan.observed import FileFact, HostFacts, UnitFact
from deployer.plan.router_config import CONF, PASSWORD, SASL_CONF, UNIT
from deployer.plan.routers import plan_routers
from deployer.plan.steps import Intent, Wave
from tests.unit.plan.cloud import CTL1, file, project
from tests.unit.plan.mesh import Facts, bare, carried_out, finished, router, sections, silent, site, with_entity

TLS = ServerTls("/etc/pki/r.pem", "/etc/pki/r.key", "/etc/pki/ca.pem")
BRING_UP = ["unit.enable", "unit.restart", "router.await"]


def waves(cloud: Deployment, facts: Facts) -> tuple[Wave, ...]:
    return plan_routers(cloud, facts).waves


def kinds(found: tuple[Wave, ...]) -> list[dict[str, list[str]]]:
    """The kinds of each wave by host, in the order of the hosts."""
    return [{host: [intent.kind for intent in own] for host, own in wave.intents.items()} for wave in found]


def intents(found: tuple[Wave, ...], kind: str) -> dict[str, Intent]:
    """The last intent of a kind by host."""
    return {
        host: intent for wave in found for host, own in wave.intents.items() for intent in own if intent.kind == kind
    }


def restarted(found: tuple[Wave, ...]) -> list[str]:
    return list(intents(found, "unit.restart"))


def grown(routers: int, first: int = 0) -> Facts:
    """The finished hosts of so many routers, and bare ones for more."""
    return {**{f"r{number}": bare(f"r{number}") for number in range(9)}, **finished(site(routers, first=first))}


def started_at(facts: HostFacts, began: float) -> HostFacts:
    return replace(facts, units={UNIT: replace(facts.units[UNIT], started=began)})


def written_at(facts: HostFacts, path: str, when: float) -> HostFacts:
    file = replace(facts.files[path], mtime_ns=int(when * 1e9))
    return replace(facts, files={**facts.files, path: file})


def with_file(facts: HostFacts, path: str, content: bytes) -> HostFacts:
    """The host with other content in a file of its router."""
    other = replace(facts.files[path], sha256="0" * 64, content=Blob(content))
    return replace(facts, files={**facts.files, path: other})


@pytest.mark.parametrize("routers", range(9))
def test_finished_routers_need_nothing(routers: int) -> None:
    cloud = site(routers)
    found = plan_routers(cloud, finished(cloud))

    assert (found.waves, found.changes) == ((), ())


def test_a_bare_host_has_its_configuration_before_the_package_and_its_password_after_it() -> None:
    cloud = site(1)
    found = waves(cloud, {"r0": bare("r0")})

    assert kinds(found) == [
        {"r0": ["file.write", "file.write", "package.install"]},
        {"r0": ["sasl.users"]},
        {"r0": ["file.write", *BRING_UP]},
    ]
    first, _, start = (wave.intents["r0"] for wave in found)
    assert [intent.args["path"] for intent in first[:2]] == [CONF, SASL_CONF]
    assert first[2].args["names"] == ["sasl2-bin", "libsasl2-modules", "python3-qpid-proton", "qdrouterd"]
    assert {key: start[0].args[key] for key in ("path", "mode", "user", "group")} == {
        "path": PASSWORD,
        "mode": 0o600,
        "user": "qdrouterd",
        "group": "qdrouterd",
    }


def test_bare_hosts_start_at_once_and_the_mesh_is_waited_for_once_all_have() -> None:
    cloud = site(3)
    found = waves(cloud, {name: bare(name) for name in ("r0", "r1", "r2")})

    assert [(wave.title, list(wave.intents), wave.serial) for wave in found[2:]] == [
        ("qdrouterd: start", ["r0", "r1", "r2"], False),
        ("qdrouterd: wait for the mesh", ["r0", "r1", "r2"], False),
    ]
    assert [intents((wave,), "router.await")["r1"].args["nodes"] for wave in found[2:]] == [[], ["r0", "r1", "r2"]]


def test_red_hat_has_its_own_names_for_the_tools_and_may_replace_what_is_there_before_the_package() -> None:
    found = waves(site(1, package="qpid-dispatch-router"), {"r0": replace(bare("r0"), package_manager="dnf")})

    assert kinds(found)[0] == {"r0": ["package.install"]}
    assert kinds(found)[2] == {"r0": ["file.write"] * 3 + BRING_UP}
    names = intents(found, "package.install")["r0"].args["names"]
    assert names == ["cyrus-sasl", "cyrus-sasl-plain", "python3-qpid-proton", "qpid-dispatch-router"]


def test_a_package_file_is_uploaded_after_the_tools(tmp_path: Path) -> None:
    file = tmp_path / "q.deb"
    file.write_bytes(b"!<arch>")
    found = waves(site(1, package_file=file), {"r0": bare("r0")})

    install, upload = found[0].intents["r0"][-2:]
    assert install.args["names"] == ["sasl2-bin", "libsasl2-modules", "python3-qpid-proton"]
    assert {key: upload.args[key] for key in ("filename", "manager", "name")} == {
        "filename": "q.deb",
        "manager": "apt",
        "name": "qdrouterd",
    }
    assert base64.b64decode(upload.args["content_b64"]) == b"!<arch>"


def test_every_project_and_the_administrator_are_users_with_their_password_as_it_is() -> None:
    glance = replace(project("glance", CTL1), password=Secret("a/b%c#d"))
    found = waves(site(1, glance), {"r0": bare("r0")})
    args = intents(found, "sasl.users")["r0"].args

    assert args["realm"] == "openstack"
    assert {user: base64.b64decode(text).decode() for user, text in args["users_b64"].items()} == {
        "glance": "a/b%c#d",
        "hybridmsg": "canary-router",
    }
    assert intents(found, "router.await")["r0"].args["logins"] == {"glance": "a/b%c#d", "hybridmsg": "canary-router"}


def test_a_second_router_restarts_the_first_which_was_alone() -> None:
    found = waves(site(2), grown(1))

    assert restarted(found) == ["r1", "r0"]
    assert [wave.title for wave in found][-2:] == [
        "qdrouterd: restart with its configuration",
        "qdrouterd: wait for the mesh",
    ]


@pytest.mark.parametrize("routers", range(2, 8))
def test_one_more_router_restarts_nobody_and_touches_nobody_else(routers: int) -> None:
    found = waves(site(routers + 1), grown(routers))

    assert restarted(found) == [f"r{routers}"]
    assert {host for wave in found[:-1] for host in wave.intents} == {f"r{routers}"}
    assert set(found[-1].intents) == {f"r{number}" for number in range(routers + 1)}


@pytest.mark.parametrize("before", range(1, 6))
@pytest.mark.parametrize("after", range(1, 6))
@pytest.mark.parametrize("first", [0, 1])
def test_from_any_number_of_routers_one_plan_leads_to_any_other(before: int, after: int, first: int) -> None:
    cloud, facts = site(after, first=first), grown(before)

    assert waves(cloud, carried_out(cloud, facts, waves(cloud, facts))) == ()


def test_a_hub_that_leaves_is_cut_off_live() -> None:
    cloud, facts = site(2, first=1), grown(3)
    found = waves(cloud, facts)

    assert restarted(found) == []
    assert kinds(found)[0] == {"r1": ["router.update", "file.write"], "r2": ["router.update", "file.write"]}
    assert intents(found, "router.update")["r1"].args["delete"] == [{"type": "connector", "name": "hybridmsg-to-r0"}]
    update = intents(found, "router.update")["r2"].args
    assert [one["name"] for one in update["delete"]] == ["hybridmsg-to-r0", "hybridmsg-to-r1"]
    assert [(one["name"], one["attributes"]["cost"]) for one in update["create"]] == [("hybridmsg-to-r1", 1)]
    assert found[0].serial


def test_what_became_of_the_running_router_alone_is_put_right_live() -> None:
    cloud = site(2)
    facts = finished(cloud)
    facts["r1"] = with_entity(facts["r1"], "connector", "hybridmsg-to-r0", cost=7)
    facts["r1"] = with_entity(facts["r1"], "address", "hybridmsg-rpc-multicast", distribution="balanced")
    facts["r1"] = with_entity(facts["r1"], "log", "DEFAULT", enable="trace+")
    found = waves(cloud, facts)

    assert kinds(found)[0] == {"r1": ["router.update"]}
    args = intents(found, "router.update")["r1"].args
    assert [one["name"] for one in args["delete"]] == ["hybridmsg-rpc-multicast", "hybridmsg-to-r0"]
    assert sorted(one["type"] for one in args["create"]) == ["address", "connector", "log"]
    assert waves(cloud, carried_out(cloud, facts, found)) == ()


def test_what_is_not_ours_in_a_running_router_stays() -> None:
    cloud = site(2)
    facts = finished(cloud)
    facts["r0"] = with_entity(facts["r0"], "listener", "console", port="8080")
    facts["r0"] = with_entity(facts["r0"], "log", "ROUTER", enable="debug+")

    assert waves(cloud, facts) == ()


def test_a_file_that_says_the_same_otherwise_is_written_and_nothing_else() -> None:
    cloud = site(2)
    facts = finished(cloud)
    conf = facts["r0"].files[CONF].content
    assert conf is not None
    facts["r0"] = with_file(facts["r0"], CONF, conf.reveal() + b"# a word\n")

    assert kinds(waves(cloud, facts))[0] == {"r0": ["file.write"]}


def test_a_password_file_that_others_may_read_is_closed() -> None:
    cloud = site(1)
    facts = finished(cloud)
    opened = replace(facts["r0"].files[PASSWORD], mode=0o644)
    facts["r0"] = replace(facts["r0"], files={**facts["r0"].files, PASSWORD: opened})

    [wave] = waves(cloud, facts)
    [write] = wave.intents["r0"]
    assert (write.args["path"], write.args["mode"]) == (PASSWORD, 0o600)


def test_a_password_that_connectors_hold_since_the_start_restarts_them_and_not_the_hub() -> None:
    cloud = site(2)
    found = waves(cloud, {name: with_file(one, PASSWORD, b"other") for name, one in finished(cloud).items()})

    assert restarted(found) == ["r1"]
    assert set(intents(found, "file.write")) == {"r0", "r1"}


def test_a_file_that_only_a_start_reads_and_that_came_after_it_restarts_and_is_written_anew() -> None:
    cloud = site(2)
    facts = finished(cloud)
    for name in facts:
        facts[name] = written_at(started_at(facts[name], 100.0), PASSWORD, 100.5)
    found = waves(cloud, facts)

    assert restarted(found) == ["r1"]
    assert [(one.args["path"], one.args["anew"]) for one in found[0].intents["r1"][:1]] == [(PASSWORD, True)]


def test_files_that_were_there_when_the_router_started_restart_nothing() -> None:
    cloud = site(2)
    facts = {name: started_at(one, 100.0) for name, one in finished(cloud).items()}
    for path in (SASL_CONF, PASSWORD):
        facts = {name: written_at(one, path, 99.5) for name, one in facts.items()}

    assert waves(cloud, facts) == ()


def test_sasls_configuration_is_read_at_the_start_only() -> None:
    cloud = site(1)
    facts = {"r0": with_file(finished(cloud)["r0"], SASL_CONF, b"mech_list: ANONYMOUS\n")}

    assert restarted(waves(cloud, facts)) == ["r0"]


def test_a_new_project_is_a_user_on_every_router_and_nobody_is_restarted() -> None:
    cloud = site(2, project("glance", CTL1), project("nova", CTL1))
    found = waves(cloud, grown(2))

    assert kinds(found[:1]) == [{"r0": ["sasl.users"], "r1": ["sasl.users"]}]
    assert list(intents(found, "sasl.users")["r0"].args["users_b64"]) == ["nova"]
    assert restarted(found) == []


def test_a_user_that_is_known_and_not_let_in_gets_its_password_again() -> None:
    cloud = site(1)
    facts = finished(cloud)
    facts["r0"] = router(facts["r0"], logins={"glance": "wrong user or password", "hybridmsg": None})

    assert list(intents(waves(cloud, facts), "sasl.users")["r0"].args["users_b64"]) == ["glance"]


def test_a_user_that_is_no_longer_wanted_is_left_alone() -> None:
    cloud = site(1)
    facts = finished(cloud)
    facts["r0"] = router(facts["r0"], users=("glance@openstack", "hybridmsg@openstack", "heat@openstack"))

    assert waves(cloud, facts) == ()


def test_another_administrators_password_restarts_one_after_the_other_the_hub_last() -> None:
    facts = {name: silent(one) for name, one in finished(site(3)).items()}
    found = waves(replace(site(3), router_password=Secret("canary-other")), facts)
    users, restart = found[1], found[2]

    assert users.title == "qdrouterd: users"
    assert set(users.intents) == {"r0", "r1", "r2"}
    assert (list(restart.intents), restart.serial) == (["r1", "r2", "r0"], True)
    assert kinds((restart,))[0]["r1"] == ["file.write", *BRING_UP]
    assert intents((restart,), "router.await")["r1"].args["nodes"] == ["r0", "r1", "r2"]


def letting_in(facts: HostFacts) -> HostFacts:
    """The host with its router telling nothing of itself, for whatever reason, while it lets everybody in."""
    return router(silent(facts), logins={"glance": None, "hybridmsg": None}, problem="no answer within 30 s")


def test_a_router_that_serves_and_cannot_be_asked_is_named_and_not_restarted_under_services() -> None:
    facts = finished(site(2))
    with pytest.raises(ConfigurationError, match=r"r1: .*no answer within 30 s.*systemctl restart qdrouterd"):
        plan_routers(site(2), {**facts, "r1": letting_in(facts["r1"])})


def test_a_router_that_cannot_be_asked_is_restarted_where_a_file_that_it_reads_at_the_start_needs_it() -> None:
    facts = {"r0": letting_in(with_file(finished(site(1))["r0"], SASL_CONF, b"mech_list: ANONYMOUS\n"))}
    found = waves(site(1), facts)

    assert restarted(found) == ["r0"]
    assert intents(found, "sasl.users") == {}


def test_a_router_that_runs_and_refuses_its_administrator_is_restarted() -> None:
    facts = router(letting_in(finished(site(1))["r0"]), logins={"glance": None, "hybridmsg": "not listening"})

    assert restarted(waves(site(1), {"r0": facts})) == ["r0"]


def test_a_router_that_is_down_is_brought_up_and_its_peers_are_not_touched() -> None:
    cloud = site(2)
    facts = finished(cloud)
    facts["r1"] = silent(facts["r1"], "failed")
    found = waves(cloud, facts)

    assert kinds(found) == [
        {"r1": ["package.install"]},
        {"r1": ["sasl.users"]},
        {"r1": BRING_UP},
        {"r0": ["router.await"], "r1": ["router.await"]},
    ]


def test_a_configuration_that_somebody_changed_is_ours_again_when_the_router_is_brought_up() -> None:
    cloud = site(1)
    facts = finished(cloud)
    broken = FileFact(CONF, exists=True, sha256="0" * 64, mode=0o644, user="root", content=Blob(b"listener {\n"))
    facts["r0"] = replace(silent(facts["r0"], "failed"), files={**facts["r0"].files, CONF: broken})

    write = waves(cloud, facts)[2].intents["r0"][0]
    assert (write.args["path"], write.preimage) == (CONF, {"sha256": "0" * 64})


def test_another_port_between_routers_is_changed_live_and_only_then_is_the_mesh_waited_for() -> None:
    cloud = site(2, inter_router_port=5)
    found = waves(cloud, grown(2))

    assert restarted(found) == []
    assert [wave.title for wave in found] == ["qdrouterd: change while it runs", "qdrouterd: wait for the mesh"]
    update = intents(found, "router.update")["r1"].args
    assert [one["name"] for one in update["delete"]] == ["hybridmsg-to-r0", "hybridmsg-routers"]
    assert [one["name"] for one in update["create"]] == ["hybridmsg-routers", "hybridmsg-to-r0"]


def test_while_ports_move_a_restarted_router_does_not_wait_for_peers_that_are_still_to_come() -> None:
    # Asked on its new port, no router tells anything.
    facts = {name: silent(one) if name in ("r0", "r1") else one for name, one in grown(2).items()}
    found = waves(site(2, tls=TLS, port=31461, inter_router_port=31462), facts)

    restart, mesh = found[-2:]
    assert list(restart.intents) == ["r1", "r0"]
    assert intents((restart,), "router.await")["r1"].args["nodes"] == []
    assert intents((mesh,), "router.await")["r1"].args["nodes"] == ["r0", "r1"]


def test_other_certificates_restart_for_listeners_hold_the_old_ones() -> None:
    facts = finished(site(2, tls=TLS))
    found = waves(site(2, tls=replace(TLS, certificate="/etc/pki/new.pem")), facts)

    assert restarted(found) == ["r1", "r0"]
    assert intents(found, "router.update") == {}


def test_tls_is_asked_for_by_its_ca_on_the_routers_own_host() -> None:
    found = waves(site(1, tls=TLS, port=31461), {"r0": bare("r0")})
    args = intents(found, "router.await")["r0"].args

    assert {key: args[key] for key in ("host", "port", "tls_ca", "realm", "user")} == {
        "host": "127.0.0.1",
        "port": 31461,
        "tls_ca": "/etc/pki/ca.pem",
        "realm": "openstack",
        "user": "hybridmsg",
    }


def test_a_host_that_cannot_install_it_is_named_unless_it_has_it() -> None:
    cloud = site(1)
    with pytest.raises(ConfigurationError) as caught:
        waves(cloud, {"r0": replace(bare("r0"), package_manager=None)})

    assert "r0: has neither apt-get nor dnf: install qdrouterd there yourself" in str(caught.value)
    assert waves(cloud, {"r0": replace(finished(cloud)["r0"], package_manager=None)}) == ()


def test_a_package_of_the_other_kind_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"r0: takes no \.rpm packages.*must be a \.deb"):
        waves(site(1, package_file=Path("q.rpm")), {"r0": bare("r0")})


def test_a_router_that_runs_for_somebody_else_is_named_and_one_that_does_not_run_is_taken_over() -> None:
    facts = finished(site(2))
    theirs = {**facts["r1"].files, CONF: file(CONF, b"router {\n    id: theirs\n}\n")}
    with pytest.raises(ConfigurationError, match="r1: its qdrouterd runs with a configuration that is not"):
        plan_routers(site(2), {**facts, "r1": replace(silent(facts["r1"]), files=theirs)})
    assert plan_routers(site(2), {**facts, "r1": replace(silent(facts["r1"], "inactive"), files=theirs)}).waves


def test_a_masked_unit_is_named() -> None:
    masked = replace(bare("r0"), units={UNIT: UnitFact(UNIT, "masked", "inactive", "masked")})

    with pytest.raises(ConfigurationError, match="systemctl unmask qdrouterd"):
        waves(site(1), {"r0": masked})


def test_people_are_told_what_changes_and_no_secret() -> None:
    cloud, facts = site(3), grown(2)
    facts["r1"] = with_entity(facts["r1"], "connector", "hybridmsg-to-r0", cost=7)
    facts["r0"] = silent(facts["r0"])
    found = plan_routers(cloud, facts)

    assert found.changes == (
        "r0: ~ router, which tells nothing now: connection refused",
        "r0: + user glance@openstack",
        "r0: + user hybridmsg@openstack",
        "r0: ~ router, restarted",
        "r1: - connector hybridmsg-to-r0",
        "r1: + connector hybridmsg-to-r0",
        "r2: + router, port 31459",
        "r2: + link to r0, cost 1",
        "r2: + link to r1, cost 3",
        "r2: + user glance@openstack",
        "r2: + user hybridmsg@openstack",
    )
    assert "canary" not in repr(found)


def test_the_configuration_reads_as_the_router_reads_it() -> None:
    cloud = site(2, tls=TLS)
    conf = finished(cloud)["r1"].files[CONF].content
    assert conf is not None
    found = sections(conf.reveal())

    assert found[0] == ("router", {"mode": "interior", "id": "r1"})
    connector = next(attributes for kind, attributes in found if kind == "connector")
    assert connector == {
        "name": "hybridmsg-to-r0",
        "host": "10.0.1.0",
        "port": "31460",
        "role": "inter-router",
        "cost": "1",
        "idleTimeoutSeconds": "4",
        "saslMechanisms": "PLAIN",
        "saslUsername": "hybridmsg@openstack",
        "saslPassword": "file:/etc/qpid-dispatch/hybridmsg.password",
        "sslProfile": "hybridmsg-tls",
        "verifyHostname": "yes",
    }
    listeners = {of["name"]: of for kind, of in found if kind == "listener"}
    assert listeners["hybridmsg-clients"] == {
        "name": "hybridmsg-clients",
        "host": "0.0.0.0",  # noqa: S104 - what the file must say
        "port": "31459",
        "role": "normal",
        "authenticatePeer": "yes",
        "saslMechanisms": "PLAIN",
        "sslProfile": "hybridmsg-tls",
        "requireSsl": "yes",
    }
    assert listeners["hybridmsg-routers"]["idleTimeoutSeconds"] == "4"


def test_fanout_goes_to_all_unicast_to_the_one_and_anycast_to_any() -> None:
    conf = finished(site(1))["r0"].files[CONF].content
    assert conf is not None
    addresses = {of["prefix"]: of["distribution"] for kind, of in sections(conf.reveal()) if kind == "address"}

    assert addresses == {
        f"openstack.org/om/{target}/{kind}": distribution
        for target in ("rpc", "notify")
        for kind, distribution in (("multicast", "multicast"), ("unicast", "closest"), ("anycast", "balanced"))
    }


def test_a_router_at_an_ipv6_address_listens_there_and_on_its_loopback() -> None:
    cloud = site(1)
    cloud = replace(cloud, qdrouterd=(replace(cloud.qdrouterd[0], address="2001:db8::1"),))
    facts = {"r0": bare("r0")}
    after = carried_out(cloud, facts, waves(cloud, facts))
    conf = after["r0"].files[CONF].content
    assert conf is not None

    assert "    host: ::\n" in conf.reveal().decode()
    assert intents(waves(cloud, facts), "router.await")["r0"].args["host"] == "::1"


def test_what_a_running_router_says_it_is_is_part_of_its_plan() -> None:
    cloud = site(1)
    facts = finished(cloud)
    router = facts["r0"].router
    assert router is not None
    assert router.view is not None
    standin = replace(router, view=replace(router.view, version="0.1 (stand-in)"))
    told = plan_routers(cloud, {"r0": replace(facts["r0"], router=standin)})
    assert told.versions == {"r0": "0.1 (stand-in)"}

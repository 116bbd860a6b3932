"""The faults of openstack-ansible's hybrid messaging (Zed to Dalmatian), each with what shows that it is not here."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from oslo_config import cfg

from deployer.agent.router_users import OWNER, PRIVATE
from deployer.model.deployment import Deployment, ServerTls, Sourced
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.observed import HostFacts
from deployer.plan.projects import plan_projects
from deployer.plan.router_config import USERS, configuration, sasl_configuration
from deployer.plan.routers import plan_routers
from tests.unit.plan import cloud, mesh
from tests.unit.plan.cloud import CTL1, MSG1, RTR1, RTR2

TLS = ServerTls("/etc/pki/r.pem", "/etc/pki/r.key", "/etc/pki/ca.pem")
SPECIAL = "a/b#c?d,e$f%20@:"


def site(name: str, *, routers: bool = True, password: str = "", **variables: object) -> Deployment:
    """One project of the catalogue on one controller, with these variables of openstack-ansible's."""
    project = replace(cloud.project(name, CTL1), password=Secret(password or "canary"))
    of = cloud.deployment(project, qdrouterd=(RTR1, RTR2) if routers else ())
    given = {key: Sourced(value, "defaults.yaml:1") for key, value in variables.items()}
    return replace(of, variables=given, router_password=Secret("canary-router"))


def facts(of: Deployment) -> dict[str, HostFacts]:
    """The hosts before anything was done: the project's units run that need no RabbitMQ, its file names no bus."""
    (project,) = of.projects
    units = [cloud.unit(unit.names[0]) for unit in project.project.units if not unit.rabbit_only]
    controller = cloud.host("ctl1", {project.project.files[0]: "[DEFAULT]\n"}, units)
    return {"ctl1": replace(controller, cells=()), "msg1": cloud.broker(of)}


def written(of: Deployment, directory: Path) -> cfg.ConfigOpts:
    """What oslo.config reads from the project's file after the plan."""
    before = facts(of)
    (project,) = of.projects
    after = cloud.after(before, plan_projects(of, before))["ctl1"].files[project.project.files[0]].content
    assert after is not None
    path = directory / "service.conf"
    path.write_bytes(after.reveal())
    conf = cfg.ConfigOpts()
    conf(["--config-file", str(path)], default_config_dirs=[])
    return conf


def urls(conf: cfg.ConfigOpts) -> dict[str, str | None]:
    """Both transport URLs as the service reads them, None for one that is not there."""
    conf.register_opt(cfg.StrOpt("transport_url"))
    conf.register_opt(cfg.StrOpt("transport_url"), group="oslo_messaging_notifications")
    return {"rpc": conf.transport_url, "notify": conf.oslo_messaging_notifications.transport_url}


def option(conf: cfg.ConfigOpts, group: str, name: str) -> object:
    conf.register_opt(cfg.StrOpt(name), group=group)
    return conf[group][name]


def users(of: Deployment) -> Mapping[str, Any]:
    """What each router's host is to make its users from."""
    found = plan_routers(of, {host.name: mesh.bare(host.name) for host in of.qdrouterd}).waves
    return {
        host: intent.args
        for wave in found
        for host, intents in wave.intents.items()
        for intent in intents
        if intent.kind == "sasl.users"
    }


def test_a_services_log_in_with_the_realm_that_the_routers_know_them_by(tmp_path: Path) -> None:
    of = site("heat")
    realm = option(written(of, tmp_path), "oslo_messaging_amqp", "sasl_default_realm")
    assert {args["realm"] for args in users(of).values()} == {realm} == {of.router.realm}


def test_b_every_router_knows_every_user(tmp_path: Path) -> None:
    found = {host: sorted(args["users_b64"]) for host, args in users(site("heat")).items()}
    assert found == {"rtr1": ["heat", "hybridmsg"], "rtr2": ["heat", "hybridmsg"]}


def test_c_the_password_database_belongs_to_the_router_and_nobody_else_may_read_it() -> None:
    """What the agent does with owner and mode is in agent/test_router_users.py, with Cyrus SASL's own programs."""
    assert {args["db"] for args in users(site("heat")).values()} == {USERS}
    assert USERS in sasl_configuration().decode()
    assert (OWNER, PRIVATE) == ("qdrouterd", 0o600)


@pytest.mark.parametrize("tls", [None, TLS], ids=["plain", "TLS"])
def test_d_a_routers_url_has_no_option_that_the_amqp_driver_does_not_know(tls: ServerTls | None) -> None:
    of = site("heat", heat_oslomsg_rpc_ssl_version="TLSv1_2", oslomsg_rpc_ssl_ca_file="/etc/pki/ca.pem")
    of = replace(of, router=replace(of.router, tls=tls))
    query = resolve(of, of.projects[0]).rpc.url().reveal().partition("?")[2]
    assert query == ("ssl=1" if tls else "ssl=0")


def test_d_rabbitmqs_url_has_them(tmp_path: Path) -> None:
    of = site("heat", routers=False)
    of = replace(of, broker=replace(of.broker, port=5671, tls=TLS))
    found = oslo_messaging.TransportURL.parse(written(of, tmp_path))
    assert found.query == {"ssl": "1", "ssl_version": "TLSv1_2", "ssl_ca_file": "/etc/pki/ca.pem"}


def test_e_no_notifications_is_the_driver_noop_with_a_transport_that_loads(tmp_path: Path) -> None:
    of = site("heat", routers=False, oslomsg_notify_transport="none")
    conf = written(of, tmp_path)
    transport = oslo_messaging.get_notification_transport(conf)
    notifier = oslo_messaging.Notifier(transport, publisher_id="heat.ctl1")
    notifier.info({}, "stack.create", {})
    assert notifier._driver_mgr.names() == ["noop"]
    assert transport._driver._url.transport == "rabbit"


@pytest.mark.parametrize("routers", [False, True])
def test_e_nothing_that_is_written_says_none(tmp_path: Path, routers: bool) -> None:  # noqa: FBT001 - a table's column
    found = urls(written(site("heat", routers=routers, oslomsg_notify_transport="none"), tmp_path))
    assert found["notify"] is None
    assert str(found["rpc"]).startswith("amqp://" if routers else "rabbit://")


@pytest.mark.parametrize("name", ["mistral", "ironic_inspector"])
def test_f_no_notifications_fall_back_to_the_routers(tmp_path: Path, name: str) -> None:
    found = urls(written(site(name), tmp_path))
    assert str(found["rpc"]).startswith("amqp://")
    assert str(found["notify"]).startswith(f"rabbit://{name}:canary@{MSG1.address}:5672/")


@pytest.mark.parametrize("tls", [None, TLS], ids=["plain", "TLS"])
def test_g_inspector_speaks_tls_where_the_routers_do(tmp_path: Path, tls: ServerTls | None) -> None:
    of = site("ironic_inspector")
    of = replace(of, router=replace(of.router, tls=tls))
    conf = written(of, tmp_path)
    assert str(urls(conf)["rpc"]).endswith("?ssl=1" if tls else "?ssl=0")
    assert (option(conf, "oslo_messaging_amqp", "ssl_ca_file") or "") == (TLS.ca if tls else "")


def test_g_inspector_follows_its_own_variable() -> None:
    of = site("ironic_inspector", ironic_inspector_oslomsg_notify_use_ssl=True)
    of = replace(of, broker=replace(of.broker, port=5671, tls=TLS))
    plain = replace(of, variables={"ironic_inspector_oslomsg_notify_use_ssl": Sourced(False, "x")})
    found = [resolve(one, one.projects[0]).notify for one in (of, plain)]
    assert [(bus.tls, bus.port) for bus in found] == [(True, 5671), (False, 5672)]


def test_h_a_password_of_any_characters_is_one_password_to_the_service(tmp_path: Path) -> None:
    found = oslo_messaging.TransportURL.parse(written(site("heat", routers=False, password=SPECIAL), tmp_path))
    # The rabbit driver cannot pass a / on, so the broker's own password has %2F for it (rabbit_password).
    assert {host.password for host in found.hosts} == {SPECIAL.replace("/", "%2F")}
    assert [host.hostname for host in found.hosts] == [MSG1.address]


def test_h_a_router_is_told_the_password_as_it_is(tmp_path: Path) -> None:
    of = site("heat", password=SPECIAL)
    assert {base64.b64decode(args["users_b64"]["heat"]).decode() for args in users(of).values()} == {SPECIAL}
    text = str(urls(written(of, tmp_path))["rpc"])
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    assert {one.password for one in oslo_messaging.TransportURL.parse(conf, text).hosts} == {SPECIAL}


@pytest.mark.parametrize("place", [0, 1])
def test_i_no_listener_lets_anybody_in_without_a_password_and_the_log_tells_no_traces(place: int) -> None:
    text = configuration(site("heat"), place).decode()
    listeners = [part for part in text.split("\n\n") if part.startswith("listener")]
    assert [("role: inter-router" in one) for one in listeners] == [False, True]
    assert all("authenticatePeer: yes" in one and "saslMechanisms: PLAIN\n" in one for one in listeners)
    assert "ANONYMOUS" not in text
    assert "enable: info+" in text


def test_i_routers_with_tls_have_no_listener_without_it() -> None:
    of = site("heat")
    text = configuration(replace(of, router=replace(of.router, tls=TLS)), 0).decode()
    assert text.count("requireSsl: yes") == text.count("listener {") == 2

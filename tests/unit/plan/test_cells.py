from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from deployer.model.deployment import Deployment, RouterSettings, ServerTls
from deployer.model.secrets import Secret
from deployer.model.transports import resolve
from deployer.plan.cell_moves import CELL0, CellMoves, cells_request, cells_witness, plan_cells
from deployer.plan.cells import CellMapping
from deployer.plan.observed import ConfigSource, HostFacts
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CTL1, CTL2, FOREIGN, NOVA, RTR1, RTR2

UUID = "11111111-2222-3333-4444-555555555555"
RABBIT = cloud.deployment(cloud.project("nova", CTL1, CTL2), rabbitmq=(cloud.MSG1, RTR1))
HYBRID = replace(RABBIT, qdrouterd=(RTR1, RTR2), hosts={**RABBIT.hosts, "rtr2": RTR2})
OLD, NEW = cloud.url(RABBIT, "nova"), cloud.url(HYBRID, "nova")
TEMPLATE = "{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}"


def nova(rpc: str = OLD) -> str:
    return f"[DEFAULT]\ntransport_url = {rpc}\n[api_database]\nconnection = mysql://\n"


def ctl(name: str, conf: str, cells: tuple[CellMapping, ...] | None = None) -> HostFacts:
    return replace(cloud.host(name, {NOVA: conf}, [cloud.unit("nova-conductor")]), cells=cells)


def plan(url: str, site: Deployment = HYBRID, rpc: str = OLD, uuid: str = UUID) -> CellMoves:
    """The plan for one mapping with this URL, while nova's files name `rpc`."""
    facts = {"ctl1": ctl("ctl1", nova(rpc), (CellMapping(uuid, "cell1", Secret(url)),)), "ctl2": ctl("ctl2", nova(rpc))}
    project = site.projects[0]
    return plan_cells(site, project, resolve(site, project).rpc, facts)


def moved(moves: CellMoves) -> dict[str, str]:
    [intent] = moves.intents["ctl1"]
    assert intent.kind == "nova.cells"
    found: dict[str, str] = json.loads(base64.b64decode(intent.args["mappings_b64"]))
    return found


@pytest.mark.parametrize(
    "url",
    [OLD, OLD.replace("canary-nova", "older"), OLD.partition(",")[0] + "/nova", "rabbit://nova:x@10.0.0.31:5672/nova"],
    ids=["as in the file", "another password", "a member fewer", "one member"],
)
def test_a_literal_mapping_on_novas_bus_moves_with_it(url: str) -> None:
    assert moved(plan(url)) == {UUID: NEW}


def test_a_foreign_bus_that_novas_file_names_is_novas_and_its_cell_moves_along() -> None:
    assert moved(plan(FOREIGN.replace("canary-old", "older"), rpc=FOREIGN)) == {UUID: NEW}


def test_a_mapping_that_an_interrupted_run_left_behind_moves_when_the_file_moved_already() -> None:
    assert moved(plan(OLD, rpc=NEW)) == {UUID: NEW}


@pytest.mark.parametrize("rpc", [NEW, OLD], ids=["with the file", "after it"])
def test_it_goes_back_the_same_way_though_the_routers_left_their_group(rpc: str) -> None:
    site = replace(RABBIT, hosts=HYBRID.hosts)
    assert moved(plan(NEW, site, rpc)) == {UUID: OLD}


def test_a_mapping_that_is_right_needs_nothing() -> None:
    assert plan(NEW) == CellMoves({})
    assert plan(NEW.partition("?")[0]) == CellMoves({}), "the query says ssl=0, which is the default"


def test_with_tls_a_mapping_that_says_otherwise_is_not_right() -> None:
    tls = replace(HYBRID, router=RouterSettings(tls=ServerTls("/r/cert", "/r/key", "/r/ca.pem")))
    wanted = cloud.url(tls, "nova")
    assert plan(wanted, tls) == CellMoves({})
    assert moved(plan(wanted.replace("ssl=1", "ssl=0"), tls)) == {UUID: wanted}


def test_a_template_follows_by_itself() -> None:
    for url in (TEMPLATE, TEMPLATE.partition("?")[0]):
        assert plan(url) == CellMoves({})


def test_a_template_that_cannot_follow_is_replaced() -> None:
    fixed = TEMPLATE.replace("{scheme}", "rabbit")
    assert moved(plan(fixed)) == {UUID: NEW}


@pytest.mark.parametrize(("url", "uuid"), [("none:///", UUID), ("none:///", CELL0), (OLD, CELL0)])
def test_cell0_is_never_touched(url: str, uuid: str) -> None:
    assert plan(url, uuid=uuid) == CellMoves({})


@pytest.mark.parametrize(
    "url",
    [
        "rabbit://nova:x@10.9.9.9:5672/nova",
        OLD.replace("/nova?", "/cell2?"),
        OLD.replace("//nova:", "//cell2:").replace(",nova:", ",cell2:").replace("/nova?", "/c2?"),
        "rabbit://unreadable@",
        "rabbit://a:{@b/",
    ],
    ids=["other hosts", "another vhost", "another user", "unreadable", "a broken template"],
)
def test_a_mapping_on_another_bus_stays_and_is_told_without_a_password(url: str) -> None:
    moves = plan(url)
    assert moves.intents == {}
    assert len(moves.lines) == 1
    assert moves.lines[0].startswith("cell cell1 stays on rabbit://")
    assert "canary" not in moves.lines[0]


def test_what_moves_is_told_without_a_password() -> None:
    [line] = plan(OLD).lines
    assert line.startswith("cell cell1: rabbit://nova:***@10.0.0.11:5672,")
    assert "becomes amqp://nova:***@10.0.0.31:31459," in line
    assert "canary" not in line + repr(plan(OLD))


def test_mappings_that_were_not_read_are_not_planned() -> None:
    facts = {name: ctl(name, nova()) for name in ("ctl1", "ctl2")}
    assert plan_cells(HYBRID, HYBRID.projects[0], resolve(HYBRID, HYBRID.projects[0]).rpc, facts) == CellMoves({})


@pytest.mark.parametrize(("rpc", "lines"), [(OLD, 1), (NEW, 0)], ids=["nova moves", "nova stays"])
def test_a_move_of_nova_without_anyone_to_read_its_mappings_is_told(rpc: str, lines: int) -> None:
    conf = f"[DEFAULT]\ntransport_url = {rpc}\n"
    project = HYBRID.projects[0]
    found = plan_cells(
        HYBRID, project, resolve(HYBRID, project).rpc, {name: ctl(name, conf) for name in ("ctl1", "ctl2")}
    )
    assert (found.intents, len(found.lines)) == ({}, lines)


def test_the_first_host_that_knows_the_api_database_and_runs_something_reads_and_writes() -> None:
    facts = {"ctl1": ctl("ctl1", "[DEFAULT]\n"), "ctl2": ctl("ctl2", nova())}
    project = RABBIT.projects[0]
    witness = cells_witness(project, facts)
    assert witness is not None
    assert (witness.host, witness.unit.name) == ("ctl2", "nova-conductor")
    assert cells_witness(project, {**facts, "ctl2": replace(facts["ctl2"], units={})}) is None
    assert cells_witness(cloud.project("glance", CTL1), facts) is None


def test_mappings_are_read_as_the_unit_reads_its_configuration() -> None:
    unit = cloud.unit("nova-conductor", argv=("nova-conductor", "--config-file", "/a.conf", "--config-dir=/d"))
    facts = {"ctl1": replace(ctl("ctl1", nova()), units={"nova-conductor": unit}), "ctl2": ctl("ctl2", nova())}
    witness = cells_witness(RABBIT.projects[0], facts)
    assert witness is not None
    assert cells_request(RABBIT.projects[0], witness) == {
        "interpreter": "/usr/bin/python3",
        "user": "nova",
        "config_files": ["/a.conf"],
        "config_dirs": ["/d"],
    }


def test_mappings_are_read_by_a_unit_whose_files_name_the_database_and_with_these_files() -> None:
    late = "/etc/nova/api-db.conf"
    units = [
        cloud.unit("nova-conductor", config=ConfigSource((NOVA,), "process")),
        cloud.unit("nova-api", config=ConfigSource((late, NOVA), "process")),
    ]
    database = "[api_database]\nconnection = mysql://nova:canary@$my_ip/nova_api\n"
    conf = f"[DEFAULT]\ntransport_url = {OLD}\n"
    facts = {"ctl1": cloud.host("ctl1", {NOVA: conf, late: database}, units), "ctl2": ctl("ctl2", conf)}
    witness = cells_witness(RABBIT.projects[0], facts)
    assert witness is not None
    assert witness.unit.name == "nova-api"
    assert cells_request(RABBIT.projects[0], witness)["config_files"] == [late, NOVA]


def test_a_mapping_comes_from_the_agents_answer_and_shows_no_password() -> None:
    raw = {"uuid": UUID, "name": None, "transport_url_b64": base64.b64encode(OLD.encode()).decode()}
    assert CellMapping.of(raw) == CellMapping(UUID, "", Secret(OLD))
    assert "canary" not in repr(CellMapping.of(raw))


# What nova 26 (Debian 12) makes of them: objects/cell_mapping.py, _format_url.
@pytest.mark.parametrize(
    ("template", "url"),
    [
        (TEMPLATE, "rabbit://u:p@h:1/v?ssl=0"),
        (TEMPLATE, "rabbit://u:p@h:1,u:p@g:2/v?ssl=0"),
        (
            "{scheme}://{username1}:{password1}@{hostname1}:{port1},{username2}:{password2}@{hostname2}:{port2}/{path}?{query}",
            "rabbit://u:p@h:1,u:p@g:2/v?ssl=0",
        ),
    ],
    ids=["one host", "two hosts, taken for one", "two hosts, numbered"],
)
def test_a_template_is_filled_in_as_nova_does_it(template: str, url: str) -> None:
    assert CellMapping(UUID, "", Secret(template)).used(Secret(url)) == Secret(url)


def test_a_part_that_is_missing_in_novas_url_is_none() -> None:
    assert CellMapping(UUID, "", Secret("rabbit://{username}@{hostname}:{port}/")).used(
        Secret("rabbit://h/")
    ) == Secret("rabbit://None@h:None/")

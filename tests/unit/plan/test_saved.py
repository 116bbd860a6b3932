from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from deployer.model.secrets import Secret
from deployer.plan.observed import HostFacts
from deployer.plan.planner import Plan, make_plan
from deployer.plan.saved import SavedPlan
from tests.unit.plan import cloud
from tests.unit.plan.cloud import CTL1, CTL2, GLANCE, NOVA

SITE = cloud.deployment(cloud.project("glance", CTL1, CTL2), cloud.project("nova", CTL1, CTL2))
SALT = "00ff" * 8
UNITS = ("glance-api", "nova-conductor")
STALE_FILE = f"ctl1: {GLANCE} changed since the plan was made"


def facts(broker: HostFacts | None = None, **glance: str) -> dict[str, HostFacts]:
    """Two controllers; `glance` is what a host's glance-api.conf has beside the usual."""
    hosts = {}
    for name in ("ctl1", "ctl2"):
        files = {NOVA: f"[DEFAULT]\n{cloud.API_DATABASE}", GLANCE: f"[DEFAULT]\n{glance.get(name, '')}"}
        hosts[name] = cloud.host(name, files, [cloud.unit(unit) for unit in UNITS])
    hosts["ctl1"] = replace(hosts["ctl1"], cells=())
    return {"msg1": broker or cloud.broker(SITE), **hosts}


def saved(plan: Plan, salt: str = SALT) -> SavedPlan:
    return SavedPlan.of(plan, "2026-01-01T00:00:00+00:00", "ann@ops", "/srv/inventory", salt)


def written(plan: SavedPlan) -> dict[str, Any]:
    """A plan as its file has it."""
    found: dict[str, Any] = json.loads(json.dumps(plan.document()))
    return found


BEFORE = facts()
PLAN = make_plan(SITE, BEFORE)


def test_a_plan_made_again_from_the_same_is_the_same() -> None:
    read = SavedPlan.read(written(saved(PLAN)))
    assert read == saved(PLAN)
    assert (read.stale_projects(make_plan(SITE, facts())), read.stale_backends(PLAN)) == ({}, ())


def test_a_project_whose_file_somebody_changed_is_stale_and_the_file_is_named() -> None:
    changed = make_plan(SITE, facts(ctl1="debug = true\n"))
    assert saved(PLAN).stale_projects(changed) == {"glance": (STALE_FILE,)}


def test_a_project_whose_unit_was_started_meanwhile_is_stale_and_the_units_are_named() -> None:
    before = {**BEFORE, "ctl2": replace(BEFORE["ctl2"], units={"glance-api": cloud.unit("glance-api")})}
    found = saved(make_plan(SITE, before)).stale_projects(PLAN)
    assert found == {"nova": ("ctl2: the units to be restarted are now nova-conductor, and were none",)}


def test_a_password_that_the_inventory_changed_since_makes_its_project_stale() -> None:
    nova = replace(SITE.projects[1], password=Secret("canary-other"))
    broker = cloud.broker(replace(SITE, projects=(SITE.projects[0], nova)))
    changed = make_plan(replace(SITE, projects=(SITE.projects[0], nova)), facts(broker))
    found = saved(PLAN).stale_projects(changed)
    assert found.keys() == {"nova"}
    assert "the inventory" in found["nova"][0]


def test_a_project_that_the_inventory_gained_or_lost_since_is_stale() -> None:
    alone = make_plan(replace(SITE, projects=SITE.projects[:1]), BEFORE)
    assert saved(alone).stale_projects(PLAN) == {"nova": ("it is new in the inventory",)}
    assert saved(PLAN).stale_projects(alone) == {"nova": ("it is no longer in the inventory",)}


def test_a_project_that_is_there_already_is_not_stale() -> None:
    after = cloud.after(BEFORE, PLAN.projects)
    assert saved(PLAN).stale_projects(make_plan(SITE, after)) == {}


def test_brokers_that_need_something_else_than_was_saved_are_told_act_by_act() -> None:
    bare = make_plan(SITE, facts(cloud.bare(SITE)))
    assert saved(bare).stale_backends(bare) == ()
    assert "to do now: msg1: install rabbitmq-server" in saved(PLAN).stale_backends(bare)
    assert saved(bare).stale_backends(PLAN) == (), "all is done that was to be"


def test_a_brokers_user_is_the_same_although_its_hash_is_salted_anew_and_not_with_another_password() -> None:
    first, second = (make_plan(SITE, facts(cloud.bare(SITE))) for _ in range(2))
    imports = [one.brokers.expected[-1].intents["msg1"][0].args for one in (first, second)]
    assert imports[0] != imports[1]
    assert saved(first).stale_backends(second) == ()
    nova = replace(SITE.projects[1], password=Secret("canary-other"))
    site = replace(SITE, projects=(SITE.projects[0], nova))
    assert saved(first).stale_backends(make_plan(site, facts(cloud.bare(site)))) != ()


def test_equal_plans_do_not_look_alike_with_another_salt() -> None:
    first, second = saved(PLAN), saved(PLAN, "11" * 16)
    assert not {one.fingerprint for one in first.projects.values()} & {
        one.fingerprint for one in second.projects.values()
    }
    assert first.backends.fingerprint != second.backends.fingerprint


def test_a_saved_plan_holds_masked_diffs_and_no_secret() -> None:
    text = json.dumps(written(saved(make_plan(SITE, facts(cloud.bare(SITE))))))
    assert "transport_url = rabbit://nova:***@" in text
    assert not [canary for canary in ("canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn") if canary in text]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 99}, "another version of hybridmsg wrote it: its schema is 99"),
        ({"made": "2026-01-02"}, "damaged"),
        ({"sum": ""}, "damaged"),
        ({"projects": {}}, "damaged"),
    ],
)
def test_a_document_that_is_not_as_it_was_written_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SavedPlan.read({**written(saved(PLAN)), **change})


@pytest.mark.parametrize("document", [[], {}, None, "plan"])
def test_what_is_no_plan_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="no saved plan"):
        SavedPlan.read(document)

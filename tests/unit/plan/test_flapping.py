from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from deployer.plan.flapping import Change, Options, changed_options, flapping
from deployer.plan.planner import make_plan
from tests.unit.plan.cloud import CTL1, FOREIGN, GLANCE, broker, deployment, host, project, unit

PATH = "/etc/nova/nova.conf"
URL = "DEFAULT/transport_url"


def options(was: str | None, now: str | None, option: str = URL) -> Options:
    changed: Mapping[str, Change] = {option: [was, now]}
    return {"ctl1": {PATH: changed}}


def test_what_was_never_changed_before_does_not_flap() -> None:
    assert flapping(options("old", "new"), []) == []


def test_a_value_that_came_back_once_is_told() -> None:
    [found] = flapping(options("old", "new"), [options("old", "new")])
    assert (found.host, found.state) == ("ctl1", "told")
    assert f"{PATH}: {URL} came back once" in found.detail


def test_a_value_that_came_back_twice_is_refused_and_waived_by_host_and_path() -> None:
    [found] = flapping(options("old", "new"), [options("old", "new")] * 2)
    assert (found.state, found.waiver) == ("failed", f"ctl1:{PATH}")
    assert "2 times in a row" in found.detail


def test_a_value_that_another_run_put_back_does_not_flap() -> None:
    there_and_back = [options("new", "old"), options("old", "new")]
    assert flapping(options("old", "new"), [*there_and_back, *there_and_back]) == []


def test_a_value_that_is_new_each_time_does_not_flap() -> None:
    assert flapping(options("third", "new"), [options("second", "new"), options("first", "new")]) == []


def test_runs_that_did_not_touch_the_option_in_between_do_not_hide_it() -> None:
    other = options("a", "b", "oslo_messaging_amqp/idle_timeout")
    [found] = flapping(options("old", "new"), [other, options("old", "new"), {}, options("old", "new")])
    assert found.state == "failed"


@pytest.mark.parametrize("now", ["new", "newer"])
def test_an_option_that_somebody_takes_out_of_the_file_again_flaps_too(now: str) -> None:
    [found] = flapping(options(None, now), [options(None, "new")] * 2)
    assert found.state == "failed"


def test_a_record_names_each_changed_option_by_hashes_and_holds_no_value() -> None:
    cloud = deployment(project("glance", CTL1))
    text = f"[DEFAULT]\ndebug = true\ntransport_url = {FOREIGN}\n"
    facts = {"ctl1": host("ctl1", {GLANCE: text}, [unit("glance-api")]), "msg1": broker(cloud)}
    [plan] = make_plan(cloud, facts).projects
    found = changed_options(plan)["ctl1"][GLANCE]
    assert set(found) == {URL, "oslo_messaging_notifications/transport_url", "oslo_messaging_notifications/driver"}
    assert found["oslo_messaging_notifications/driver"][0] is None
    assert [len(value or "") for value in found[URL]] == [64, 64]
    assert "canary" not in str(found)
    assert changed_options(replace(plan, edits={})) == {}

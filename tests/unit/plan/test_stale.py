"""Which services count as stale: what is proven to run on the messaging options of its files never does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.model.deployment import Deployment
from deployer.plan.observed import ConfigSource, HostFacts
from deployer.plan.planner import make_plan
from deployer.plan.projects import ProjectPlan
from deployer.plan.stale import Look, Looks, look, stale_units
from tests.unit.plan.cloud import CTL1, CTL2, GLANCE, after, broker, deployment, host, project, unit

RIGHT = "[DEFAULT]\ntransport_url = rabbit://glance:canary@10.0.0.11/glance\n"
WRONG = "[DEFAULT]\ntransport_url = rabbit://glance:canary@10.9.9.9/\n"
SITE = deployment(project("glance", CTL1))


@dataclass
class Service:
    """glance-api on a host, its clock, and what it read when it started; `now` looks at it."""

    text: str = RIGHT
    clock: float = 1000.0
    inode: int = 1
    mtime: float = 0.0
    ctime: float = 0.0
    started: float = 500.0
    invocation: str = "first"
    read: str = RIGHT

    def write(self, text: str) -> None:
        """Write the file as an editor does that leaves a new one in its place."""
        self.clock += 10
        self.text, self.inode, self.mtime, self.ctime = text, self.inode + 1, self.clock, self.clock

    def chmod(self) -> None:
        self.clock += 10
        self.ctime = self.clock

    def restart(self) -> None:
        self.clock += 10
        self.started, self.read = self.clock, self.text
        self.invocation = f"at {self.clock} of {self.inode}"

    def facts(self) -> HostFacts:
        running = unit("glance-api", config=ConfigSource((GLANCE,), "process"))
        running = replace(running, started=self.started, invocation=self.invocation)
        seen = host("ctl1", {GLANCE: self.text}, [running])
        mtime, ctime = int(self.mtime * 1e9), int(self.ctime * 1e9)
        written = replace(seen.files[GLANCE], inode=self.inode, mtime_ns=mtime, ctime_ns=ctime)
        return replace(seen, files={GLANCE: written})

    def look(self, before: Looks, site: Deployment = SITE) -> dict[str, dict[str, Look]]:
        return look(site, {"ctl1": self.facts()}, before)

    def stale(self, before: Looks) -> bool:
        return bool(stale_units(SITE.projects[0], {"ctl1": self.facts()}, before))


def seen(service: Service) -> Looks:
    """The look at a service whose files are older than its start."""
    return service.look({})


def test_a_service_older_than_its_file_is_stale_when_nobody_saw_it_before() -> None:
    service = Service()
    service.write(RIGHT)
    found = stale_units(SITE.projects[0], {"ctl1": service.facts()}, {})
    assert found["ctl1"]["glance-api"].startswith(f"was started before {GLANCE} changed, and nobody saw")


def test_a_service_younger_than_its_files_is_not_stale() -> None:
    service = Service()
    service.write(RIGHT)
    service.restart()
    assert not service.stale({})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(RIGHT, id="touched"),
        pytest.param(f"{RIGHT}debug = true\n", id="another option"),
        pytest.param(f"# hello\n{RIGHT}\n[database]\nconnection = mysql://x\n", id="another section"),
        pytest.param(RIGHT.replace("transport_url =", "transport_url=rabbit://x\ntransport_url ="), id="overridden"),
    ],
)
def test_a_file_that_changed_but_for_its_messaging_options_makes_nothing_stale(text: str) -> None:
    service = Service()
    before = seen(service)
    service.write(text)
    assert not service.stale(before)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(WRONG, id="transport_url"),
        pytest.param(f"{RIGHT}[oslo_messaging_amqp]\nidle_timeout = 5\n", id="driver option"),
        pytest.param(f"{RIGHT}[oslo_messaging_notifications]\ndriver = a\ndriver = b\n", id="notifications"),
        pytest.param(RIGHT.replace("canary", "other"), id="password"),
        pytest.param("[DEFAULT]\n", id="taken out"),
    ],
)
def test_a_service_whose_messaging_options_changed_since_it_started_is_stale(text: str) -> None:
    service = Service()
    before = seen(service)
    service.write(text)
    reason = stale_units(SITE.projects[0], {"ctl1": service.facts()}, before)["ctl1"]["glance-api"]
    assert reason == "runs on other messaging options than its files hold: they changed after it had started"


def test_each_value_of_a_repeated_option_counts() -> None:
    service = Service(text=f"{RIGHT}[oslo_messaging_notifications]\ndriver = a\ndriver = b\n")
    before = seen(service)
    service.write(service.text.replace("driver = a\n", ""))
    assert service.stale(before)


def test_an_option_that_was_changed_and_changed_back_makes_nothing_stale() -> None:
    service = Service()
    before = seen(service)
    service.write(WRONG)
    before = service.look(before)
    service.write(RIGHT)
    assert not service.stale(before)


def test_a_service_restarted_on_wrong_options_that_were_put_right_since_is_stale() -> None:
    service = Service()
    before = seen(service)
    service.write(WRONG)
    service.restart()
    service.write(RIGHT)
    assert service.stale(before)


def test_that_is_seen_though_the_files_own_time_is_the_old_one() -> None:
    service = Service()
    before, mtime = seen(service), service.mtime
    service.write(WRONG)
    service.restart()
    service.write(RIGHT)
    service.mtime = mtime  # cp --preserve
    assert service.stale(before)


def test_what_was_known_of_a_start_is_known_of_a_later_file() -> None:
    service = Service()
    before = seen(service)
    for _ in range(3):
        service.write(f"{service.text}# again\n")
        before = service.look(before)
    assert not service.stale(before)


@pytest.mark.parametrize("known", [False, True])
def test_other_owners_or_modes_make_nothing_stale(known: bool) -> None:  # noqa: FBT001  # a case
    service = Service()
    before = seen(service) if known else {}
    service.restart()
    service.chmod()
    assert not service.stale(before)


def test_a_restart_makes_it_fresh_whatever_the_clocks_say() -> None:
    service = Service()
    service.write(RIGHT)
    service.mtime = service.ctime = 9e9  # the file is from the future
    before = service.look({})
    assert service.stale({})
    service.restart()
    assert not service.stale(before)
    assert service.stale({}), "without the look before, the restart is all in vain"


def test_a_service_that_stays_stale_is_so_at_each_look() -> None:
    service = Service()
    before = seen(service)
    service.write(WRONG)
    for _ in range(2):
        assert service.stale(before)
        before = service.look(before)


def test_what_was_stale_at_the_first_look_is_not_taken_for_proven_at_the_second() -> None:
    service = Service()
    service.write(RIGHT)
    assert service.stale(service.look({}))


def test_a_file_is_read_a_moment_after_the_process_began() -> None:
    service = Service(started=500.0, mtime=500.2, ctime=500.2)
    assert not service.stale({})


def test_another_catalogues_digest_is_no_proof_of_a_change() -> None:
    service = Service()
    before = seen(service)
    other = {"ctl1": {"glance-api": replace(before["ctl1"]["glance-api"], scheme="0 ", held="x", runs_on="x")}}
    service.chmod()
    assert not service.stale(other)


def test_what_was_seen_of_a_service_that_stands_still_is_kept() -> None:
    service = Service()
    before = seen(service)
    stopped = replace(service.facts(), units={"glance-api": unit("glance-api", "inactive")})
    assert look(SITE, {"ctl1": stopped}, before) == before


def test_a_host_that_was_not_asked_is_left_as_it_was_seen() -> None:
    before = seen(Service())
    assert look(SITE, {}, before) == before


def test_a_look_shows_no_secret_and_comes_back_from_json() -> None:
    one = seen(Service())["ctl1"]["glance-api"]
    assert "canary" not in str(one.record())
    assert Look.of(one.record()) == one


EVENTS = st.sampled_from(["messaging", "back", "other", "chmod", "restart", "look"])


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENTS, max_size=12))
def test_whatever_happens_a_service_on_other_options_is_never_taken_for_fresh(events: list[str]) -> None:
    service = Service()
    before: Looks = seen(service)
    for event in events:
        _do(service, event)
        before = service.look(before) if event == "look" else before
        assert service.stale(before) or _options(service.read) == _options(service.text)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(st.sampled_from(["other", "chmod", "look"]), max_size=8))
def test_whatever_else_is_written_a_known_service_is_never_stale(events: list[str]) -> None:
    service = Service()
    before: Looks = seen(service)
    for event in events:
        _do(service, event)
        assert not service.stale(before)
        before = service.look(before) if event == "look" else before


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENTS, max_size=8), ahead=st.floats(-100, 100))
def test_a_restart_between_two_looks_ends_it_even_where_clocks_were_set(events: list[str], ahead: float) -> None:
    service = Service()
    before: Looks = {}
    for event in events:
        _do(service, event)
    before = service.look(before)
    service.clock += ahead
    service.restart()
    assert not service.stale(before)


def _do(service: Service, event: str) -> None:
    acts: dict[str, Callable[[], None]] = {
        "messaging": lambda: service.write(WRONG),
        "back": lambda: service.write(RIGHT),
        "other": lambda: service.write(f"{service.text}# other\n"),
        "chmod": service.chmod,
        "restart": service.restart,
        "look": lambda: None,
    }
    acts[event]()


def _options(text: str) -> Literal["right", "wrong"]:
    return "wrong" if "10.9.9.9" in text else "right"


# In a project's plan.


CINDER = "/etc/cinder/cinder.conf"


def planned(*stale: str, conf: str = "[DEFAULT]\n", written: bool = True, looks: Looks | None = None) -> ProjectPlan:
    """The plan of a cinder on two hosts; on the first, these units are older than its file, which was `written`."""
    cloud = deployment(project("cinder", CTL1, CTL2))
    units = [replace(unit(name), started=700.0, invocation=name) for name in ("cinder-scheduler", "cinder-api")]
    facts = {"msg1": broker(cloud), **{one: host(one, {CINDER: conf}, units) for one in ("ctl1", "ctl2")}}
    facts = after(facts, make_plan(cloud, facts).projects) if written else facts
    old = {one.name: replace(one, started=500.0) if one.name in stale else one for one in units}
    file = replace(facts["ctl1"].files[CINDER], mtime_ns=int(600e9))
    facts["ctl1"] = replace(facts["ctl1"], files={CINDER: file}, units=old)
    [plan] = make_plan(cloud, facts, looks).projects
    return plan


def test_a_plan_without_looks_finds_nobody_stale() -> None:
    assert not planned("cinder-scheduler").changed
    assert planned("cinder-scheduler", looks={}).changed


def test_a_stale_server_takes_its_whole_project_through_the_drained_order_with_nothing_to_write() -> None:
    plan = planned("cinder-scheduler", looks={})
    assert plan.stale.keys() == {"ctl1"}
    assert plan.stale["ctl1"].keys() == {"cinder-scheduler"}
    assert plan.units.keys() == {"ctl1", "ctl2"}
    assert all(set(units) == {"cinder-scheduler", "cinder-api"} for units in plan.units.values())
    kinds = [intent.kind for wave in plan.switch_waves() for intent in wave.intents["ctl1"]]
    assert [kind for kind in kinds if not kind.startswith("commit.")] == ["unit.stop"] * 2 + ["unit.start"] * 2


def test_a_service_that_was_only_restarted_leaves_nothing_to_go_back_to() -> None:
    assert not planned("cinder-api", looks={}).lasts


def test_a_file_that_changes_anyway_makes_nobody_stale() -> None:
    plan = planned("cinder-api", written=False, looks={})
    assert plan.lasts
    assert not plan.stale

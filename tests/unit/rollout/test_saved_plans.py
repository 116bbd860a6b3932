from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError, PlanOutdated
from deployer.rollout.preflight import read_plan
from deployer.rollout.saved_plans import read_saved, save_plan, select
from tests.unit.plan.cloud import GLANCE, NOVA, bare
from tests.unit.rollout.conftest import EVERYTHING, Cloud

NOVA_ONLY = {"nova@ctl1", "nova@ctl2"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plans" / "plan.json"


def save(cloud: Cloud, file: Path) -> None:
    """Save what is to be done now."""
    file.parent.mkdir(exist_ok=True)
    save_plan(read_plan(cloud.deployment, cloud.store, cloud.told), file, cloud.store)
    cloud.settle()


def edit(cloud: Cloud, host: str, path: str) -> None:
    files = cloud.world.hosts[host].files
    files[path] += b"debug = true\n"
    cloud.settle()


def test_a_saved_plan_is_carried_out_as_it_was_saved(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    done = cloud.migrate(saved=read_saved(file, cloud.deployment))
    assert (cloud.moved(), done.stale, cloud.run.state) == (EVERYTHING, {}, "done")


def test_a_project_whose_file_changed_since_stays_untouched_and_the_others_move(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    edit(cloud, "ctl2", GLANCE)
    done = cloud.migrate(saved=read_saved(file, cloud.deployment))
    assert cloud.moved() == NOVA_ONLY
    assert done.stale == {"glance": (f"ctl2: {GLANCE} changed since the plan was made",)}
    assert not [what for verb, what, _ in cloud.world.acts if verb in ("stop", "start") and "glance" in what]
    assert (cloud.run.projects, cloud.run.state) == (["nova"], "done")
    assert any("glance is stale and left alone" in line for line in cloud.told.lines)


def test_with_every_project_stale_nothing_is_touched_and_no_run_recorded(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    edit(cloud, "ctl1", GLANCE)
    edit(cloud, "ctl1", NOVA)
    done = cloud.migrate(saved=read_saved(file, cloud.deployment))
    assert (done.run, {*done.stale}, cloud.moved()) == (None, {"glance", "nova"}, set())
    assert done.hosts == {"msg1": "ok", "ctl1": "skipped", "ctl2": "skipped"}
    assert not list(cloud.store.runs())


def test_with_brokers_that_need_something_else_nothing_is_touched(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    cloud.world.hosts["msg1"].rabbitmq = bare(cloud.deployment).rabbitmq
    cloud.world.acts.clear()
    with pytest.raises(PlanOutdated, match="msg1: install rabbitmq-server") as outdated:
        cloud.migrate(saved=read_saved(file, cloud.deployment))
    assert outdated.value.exit_code == 6
    assert (cloud.moved(), cloud.world.acts) == (set(), [])


def test_a_saved_plan_that_was_carried_out_finds_nothing_to_do(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    cloud.migrate(saved=read_saved(file, cloud.deployment))
    cloud.world.acts.clear()
    again = cloud.migrate(saved=read_saved(file, cloud.deployment))
    assert (again.run, again.stale, cloud.world.acts) == (None, {}, [])


def test_what_would_be_carried_out_can_be_looked_at(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    edit(cloud, "ctl2", GLANCE)
    chosen = select(read_plan(cloud.deployment, cloud.store, cloud.told), read_saved(file, cloud.deployment))
    assert (chosen.only, {*chosen.stale}) == ({"nova"}, {"glance"})


# The file.


def test_a_saved_plan_is_its_owners_only_whatever_stood_there(cloud: Cloud, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("an older one")
    file.chmod(0o644)
    save(cloud, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_saved_plan_is_not_written_over_what_is_no_file(cloud: Cloud, file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="no regular file"):
        save(cloud, file)


def test_a_saved_plan_of_another_inventory_is_refused_by_name(cloud: Cloud, file: Path, tmp_path: Path) -> None:
    save(cloud, file)
    with pytest.raises(ConfigurationError, match=rf"{file.name}: was made from the inventory .*/inventory, not"):
        read_saved(file, replace(cloud.deployment, directory=tmp_path))


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"schema": 1}', '{"schema": 2, "sum": ""}'])
def test_a_file_that_is_no_saved_plan_is_refused_by_name(cloud: Cloud, file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=f"{file.name}: cannot be carried out"):
        read_saved(file, cloud.deployment)


def test_a_flipped_character_in_a_saved_plan_is_found(cloud: Cloud, file: Path) -> None:
    save(cloud, file)
    text = file.read_text()
    place = text.index("transport_url")
    file.write_text(f"{text[:place]}T{text[place + 1 :]}")
    with pytest.raises(ConfigurationError, match="damaged"):
        read_saved(file, cloud.deployment)

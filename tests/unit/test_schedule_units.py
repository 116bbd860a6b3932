from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.cli.reconcile import reconcile
from deployer.schedule.units import Schedule, seconds, unit_name, written_in

PLAIN = Schedule("hybridmsg-reconcile", "/bin/true", "/etc/hybridmsg", "/var/lib/hybridmsg-controller", "", 1800, 21600)
AWKWARD = replace(
    PLAIN, name="other", inventory='/etc/a b/%h/"c"/$HOME/\\n/it\'s', state_dir="/var/lib/a b%", metrics="/srv"
)
AWKWARD_INVENTORY_QUOTED = r'''"/etc/a b/%%h/\"c\"/$$HOME/\\n/it's"'''  # as systemd.service(5) has it
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def analyze(schedule: Schedule, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd itself about the units."""
    files = []
    for name, text in schedule.units().items():
        files.append(directory / name)
        files[-1].write_text(text)
    service = [str(file) for file in files if file.suffix == ".service" or words[0] == "verify"]
    argv = ["systemd-analyze", "--no-pager", *words, *service]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@needs_systemd
@pytest.mark.parametrize("schedule", [PLAIN, AWKWARD], ids=["plain", "awkward"])
def test_systemd_has_nothing_to_say_about_the_units(schedule: Schedule, tmp_path: Path) -> None:
    done = analyze(schedule, tmp_path, "verify")
    complaints = [line for line in done.stderr.splitlines() if str(schedule.name) in line]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
def test_the_service_is_hardened(tmp_path: Path) -> None:
    done = analyze(PLAIN, tmp_path, "security", "--offline=true", "--threshold=25")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_nothing_in_a_path_is_a_specifier_a_variable_or_an_escape_to_systemd() -> None:
    service = AWKWARD.units()["other.service"]
    assert f' "--inventory" {AWKWARD_INVENTORY_QUOTED} ' in service
    assert 'ReadWritePaths="/var/lib/a b%%" "/srv"\n' in service


def test_only_state_and_metrics_can_be_written() -> None:
    units = replace(PLAIN, metrics="/srv/textfiles").units()
    assert 'ReadWritePaths="/var/lib/hybridmsg-controller" "/srv/textfiles"\n' in units["hybridmsg-reconcile.service"]
    assert "ProtectSystem=strict\n" in units["hybridmsg-reconcile.service"]


def test_every_word_of_the_service_is_one_that_reconcile_takes(tmp_path: Path) -> None:
    own = replace(PLAIN, inventory=str(tmp_path), metrics=str(tmp_path))
    program, verb, *words = own.command()
    taken = reconcile.make_context("reconcile", words).params
    assert (program, verb) == ("/bin/true", "reconcile")
    assert (taken["inventory"], taken["state_dir"]) == (tmp_path, Path(own.state_dir))
    assert (taken["report"], taken["metrics"], taken["deep_every"]) == (own.reports, own.metrics_file, own.deep_every)


def test_without_metrics_no_run_is_told_to_write_any() -> None:
    assert "--metrics" not in PLAIN.command()
    assert replace(PLAIN, metrics="/srv", name="b").command()[-2:] == ["--metrics", "/srv/b.prom"]


@pytest.mark.parametrize("schedule", [PLAIN, AWKWARD], ids=["plain", "awkward"])
def test_a_schedule_is_read_back_from_its_service(schedule: Schedule) -> None:
    assert written_in(schedule.units()[f"{schedule.name}.service"]) == schedule


@pytest.mark.parametrize(
    "text", ["", "[Service]\nExecStart=/bin/true\n", "Schedule={\n", "Schedule={}\n", "Schedule=[1]\n"]
)
def test_a_unit_of_somebody_else_is_no_schedule(text: str) -> None:
    assert written_in(text) is None


@pytest.mark.parametrize(("every", "delay"), [(60, 6), (1800, 180), (86400, 300)])
def test_the_start_is_put_off_by_a_tenth_of_the_time_between_and_five_minutes_at_most(every: int, delay: int) -> None:
    timer = replace(PLAIN, every=every).units()["hybridmsg-reconcile.timer"]
    assert re.findall(r"^(?:OnUnitActive|RandomizedDelay)Sec=(\d+)s$", timer, re.MULTILINE) == [str(every), str(delay)]


@pytest.mark.parametrize(("span", "value"), [("60s", 60), ("30min", 1800), ("6h", 21600), ("2d", 172800)])
def test_a_span_of_time_is_a_number_with_its_unit(span: str, value: int) -> None:
    assert seconds(span) == value


@pytest.mark.parametrize("span", ["", "30", "min", "-5min", "1.5h", "30 min", "30m", "59s", "0h", "5min\n"])
def test_what_is_no_span_of_time_or_too_short_is_refused(span: str) -> None:
    with pytest.raises(ValueError, match=r"span|at least"):
        seconds(span)


@pytest.mark.parametrize("name", ["", "../etc/x", "a b", "-a", "a@b", "a/b", "a\n", "a" * 101])
def test_a_name_that_is_no_units_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name is"):
        unit_name(name)

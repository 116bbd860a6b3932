"""The secrets file: kept as it is, completed when something is missing, refused when others could read it."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError, Mistake
from deployer.model.passwords import ERLANG_COOKIE, load_or_generate, password_key

NOVA, HEAT = password_key("nova"), password_key("heat")


def secrets_file(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "secrets.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refused(path: Path, *wanted: str) -> list[Mistake]:
    before = path.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        load_or_generate(path, list(wanted or (NOVA,)))
    assert path.read_bytes() == before
    return caught.value.mistakes


def reveal(path: Path, *wanted: str) -> tuple[dict[str, str], list[str]]:
    found = load_or_generate(path, wanted)
    return {key: secret.reveal() for key, secret in found.values.items()}, list(found.generated)


def test_the_names_are_those_of_openstack_ansible() -> None:
    assert (NOVA, ERLANG_COOKIE) == ("nova_oslomsg_rpc_password", "rabbitmq_cookie_token")


def test_all_is_generated_when_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    found, generated = reveal(path, NOVA, ERLANG_COOKIE)
    assert generated == [NOVA, ERLANG_COOKIE]
    assert all(len(value) == 32 and value.isalnum() for value in found.values())
    assert len(set(found.values())) == 2


def test_a_new_file_is_0600_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    before = os.umask(0)
    try:
        load_or_generate(path, [NOVA])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_run_finds_what_the_first_one_made(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    first, _ = reveal(path, NOVA, HEAT)
    assert reveal(path, NOVA, HEAT) == (first, [])


def test_what_is_there_stays_byte_for_byte(tmp_path: Path) -> None:
    text = f"---\n# ours\n{NOVA}:   'given one'   # note\nother_password: x"
    path = secrets_file(tmp_path, text)
    found, generated = reveal(path, NOVA, HEAT)
    assert (found[NOVA], generated) == ("given one", [HEAT])
    assert path.read_text() == f"{text}\n{HEAT}: {found[HEAT]}\n"


def test_nothing_is_written_when_nothing_is_missing(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, f"{NOVA}: given-one\n")
    before = path.stat()
    load_or_generate(path, [NOVA])
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_symlink_stays_a_symlink(tmp_path: Path) -> None:
    target = secrets_file(tmp_path, f"{NOVA}: given-one\n")
    link = tmp_path / "link.yaml"
    link.symlink_to(target)
    found, _ = reveal(link, NOVA, HEAT)
    assert link.is_symlink()
    assert found[HEAT] in target.read_text()


def test_no_temporary_file_stays_behind(tmp_path: Path) -> None:
    load_or_generate(tmp_path / "secrets.yaml", [NOVA])
    assert [file.name for file in tmp_path.iterdir()] == ["secrets.yaml"]


def test_runs_at_the_same_time_agree(tmp_path: Path) -> None:
    runs = 8
    at_once = threading.Barrier(runs)

    def run(_: int) -> str:
        at_once.wait()
        return reveal(tmp_path / "secrets.yaml", NOVA)[0][NOVA]

    with ThreadPoolExecutor(runs) as pool:
        assert len(set(pool.map(run, range(runs)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700])
def test_a_mode_wider_than_0600_is_refused(tmp_path: Path, mode: int) -> None:
    (mistake,) = refused(secrets_file(tmp_path, f"{NOVA}: given-one\n", mode))
    assert f"{mode:04o}" in mistake.problem
    assert "chmod 600" in mistake.problem


def test_a_file_nobody_may_write_is_fine(tmp_path: Path) -> None:
    assert reveal(secrets_file(tmp_path, f"{NOVA}: given-one\n", 0o400), NOVA)[0] == {NOVA: "given-one"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, f"{NOVA}: given-one\n")
    os.chown(path, 12345, -1)
    (mistake,) = refused(path)
    assert "12345" in mistake.problem
    assert "chown 0" in mistake.problem


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load_or_generate(tmp_path, [NOVA])


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="away: the directory of the secrets file"):
        load_or_generate(tmp_path / "away" / "secrets.yaml", [NOVA])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty"),
        ('""', "is empty"),
        ("short12", "shorter than 8"),
        ("12345678", "not text"),
        ('"line\\nbreak"', "control characters"),
        ('"nul\\0inside"', "control characters"),
        ('"del\\x7finside"', "control characters"),
        ("[a, b]", "not text"),
    ],
)
def test_an_unusable_password_is_named_by_line_and_key(tmp_path: Path, value: str, words: str) -> None:
    path = secrets_file(tmp_path, f"# ours\n{NOVA}: {value}\n")
    (mistake,) = refused(path)
    assert (mistake.file, mistake.line, mistake.path) == (str(path), 2, NOVA)
    assert words in mistake.problem


@pytest.mark.parametrize("password", ["a/b#c?d,e$f%g", "with some spaces", "::@@[]{}", "p\u00e4ss\u20acword"])
def test_every_printable_character_may_be_in_a_password(tmp_path: Path, password: str) -> None:
    path = secrets_file(tmp_path, f"{NOVA}: '{password}'\n")
    assert reveal(path, NOVA)[0] == {NOVA: password}


def test_a_cookie_with_a_space_is_refused(tmp_path: Path) -> None:
    (mistake,) = refused(secrets_file(tmp_path, f"{ERLANG_COOKIE}: not a cookie\n"), ERLANG_COOKIE)
    assert mistake.path == ERLANG_COOKIE


@pytest.mark.parametrize("key", ["nova_oslomsg_rpc_passwd", "noav_oslomsg_rpc_password", "nova-oslomsg-rpc-password"])
def test_a_misspelt_key_is_refused(tmp_path: Path, key: str) -> None:
    (mistake,) = refused(secrets_file(tmp_path, f"{key}: given-one\n"))
    assert (mistake.line, mistake.path) == (1, key)
    assert f'Did you mean "{NOVA}"?' in mistake.problem


@pytest.mark.parametrize(
    "key",
    [
        "aodh_oslomsg_rpc_password",
        "nova_oslomsg_notify_password",
        "zun_oslomsg_rpc_password",
        "nova_service_password",
        "rabbitmq_monitoring_password",
        "haproxy_stats_password",
    ],
)
def test_openstack_ansibles_other_secrets_are_left_alone(tmp_path: Path, key: str) -> None:
    path = secrets_file(tmp_path, f"{key}: x\n")
    assert reveal(path, NOVA, ERLANG_COOKIE)[1] == [NOVA, ERLANG_COOKIE]


def test_a_key_that_is_near_one_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, f"{NOVA}: given-one\n{NOVA}_old: x\n")
    assert reveal(path, NOVA)[1] == []


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, f"{NOVA}: short\n{HEAT}: 1\nglnce_oslomsg_rpc_password: x\n{HEAT}: 2\n")
    found = refused(path, NOVA, HEAT, password_key("glance"))
    assert {mistake.line for mistake in found} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "text",
    [
        f"{NOVA}: hunter-2-x: b\n",
        f"{NOVA}: *hunter-2-x\n",
        f"{NOVA}: !hunter-2-x\n",
        f"{NOVA}: [hunter-2-x\n",
        f"{NOVA}: hunter-2-x\n{NOVA}: hunter-2-x\n",
    ],
)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    path = secrets_file(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_or_generate(path, [NOVA])
    assert caught.value.mistakes
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{other: x}\n", "other: x\n...\n", "other: |\n  x"], ids=["flow", "ended", "open block"]
)
def test_a_file_that_cannot_be_appended_to_stays_as_it_is(tmp_path: Path, text: str) -> None:
    (mistake,) = refused(secrets_file(tmp_path, text))
    assert NOVA in mistake.problem
    assert len(list(tmp_path.iterdir())) == 1

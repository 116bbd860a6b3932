"""The secrets file: kept as it is, completed when something is missing, refused when others could read it."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError, Mistake
from deployer.model.passwords import ERLANG_COOKIE, load_or_generate, password_key
from deployer.model.secret_sources import SecretSources, VaultPassword, environment_secrets
from deployer.model.secrets import Blob, Secret
from deployer.model.vault import Envelope
from deployer.model.yaml_source import YamlFile, parse_yaml

NOVA, HEAT = password_key("nova"), password_key("heat")
DATA = Path(__file__).parent / "data" / "vault"
OPENED = SecretSources(vault=VaultPassword(None, "correct horse"))


def secrets_file(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "secrets.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refused(path: Path, *wanted: str, sources: SecretSources | None = None) -> list[Mistake]:
    before = path.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        load_or_generate(path, list(wanted or (NOVA,)), sources=sources)
    assert path.read_bytes() == before
    return caught.value.mistakes


def reveal(path: Path, *wanted: str, sources: SecretSources | None = None) -> tuple[dict[str, str], list[str]]:
    found = load_or_generate(path, wanted, sources=sources)
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


def test_a_key_that_is_wanted_is_no_misspelling_of_another(tmp_path: Path) -> None:
    first, second = password_key("gridone"), password_key("gridtwo")
    assert reveal(secrets_file(tmp_path, f"{first}: given-one\n"), first, second)[1] == [second]


def test_a_template_of_ansibles_is_no_password(tmp_path: Path) -> None:
    (mistake,) = refused(secrets_file(tmp_path, f"{NOVA}: '{{{{ hunter_2_x }}}}'\n"))
    assert (mistake.line, mistake.path) == (1, NOVA)
    assert "template of Ansible's" in mistake.problem
    assert "hunter" not in str(mistake)


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


def from_ansible(directory: Path, name: str) -> Path:
    """A copy of what ansible-core 2.19.14 encrypted with the password "correct horse"."""
    path = directory / "secrets.yaml"
    shutil.copy(DATA / f"{name}.yml", path)
    path.chmod(0o600)
    return path


def elsewhere(environment: dict[str, str], command: dict[str, str] | None = None) -> SecretSources:
    variables = {f"HYBRIDMSG_SECRET_{key.upper()}": value for key, value in environment.items()}
    return SecretSources((environment_secrets(variables), YamlFile("command", command or {})))


class TestOrderOfSources:
    def test_the_environment_goes_before_the_command_and_that_before_the_file(self, tmp_path: Path) -> None:
        path = secrets_file(tmp_path, "".join(f"{key}: in-file-x\n" for key in (NOVA, HEAT, ERLANG_COOKIE)))
        sources = elsewhere({NOVA: "in-environment"}, {NOVA: "by-command", HEAT: "by-command"})
        found = load_or_generate(path, [NOVA, HEAT, ERLANG_COOKIE], sources=sources)
        assert {key: value.reveal() for key, value in found.values.items()} == {
            NOVA: "in-environment",
            HEAT: "by-command",
            ERLANG_COOKIE: "in-file-x",
        }
        assert found.origins == {NOVA: "environment, HYBRIDMSG_SECRET_*", HEAT: "command", ERLANG_COOKIE: str(path)}

    def test_what_another_source_has_is_not_generated(self, tmp_path: Path) -> None:
        path = tmp_path / "secrets.yaml"
        assert reveal(path, NOVA, sources=elsewhere({NOVA: "in-environment"})) == ({NOVA: "in-environment"}, [])
        assert not path.exists()

    def test_what_no_source_has_is_generated_into_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "secrets.yaml"
        found, generated = reveal(path, NOVA, HEAT, sources=elsewhere({NOVA: "in-environment"}))
        assert generated == [HEAT]
        assert path.read_text() == f"{HEAT}: {found[HEAT]}\n"

    def test_a_value_that_another_source_replaces_need_not_be_usable(self, tmp_path: Path) -> None:
        path = secrets_file(tmp_path, f"{NOVA}: short\n")
        assert reveal(path, NOVA, sources=elsewhere({NOVA: "in-environment"}))[0] == {NOVA: "in-environment"}

    @pytest.mark.parametrize(
        ("key", "value", "words"), [(NOVA, "short", "shorter than 8"), (f"{NOVA}x", "given-one", "Did you mean")]
    )
    def test_a_mistake_in_the_environment_is_named(self, tmp_path: Path, key: str, value: str, words: str) -> None:
        path = secrets_file(tmp_path, "other: x\n")
        (mistake,) = refused(path, sources=elsewhere({key: value}))
        assert (mistake.file, mistake.path) == ("environment, HYBRIDMSG_SECRET_*", key)
        assert words in mistake.problem


@pytest.mark.parametrize("name", ["whole-1.1", "whole-1.2"])
class TestEncryptedFile:
    def test_it_is_read(self, tmp_path: Path, name: str) -> None:
        path = from_ansible(tmp_path, name)
        before = path.read_bytes()
        assert reveal(path, NOVA, sources=OPENED) == ({NOVA: "whole-file-nova"}, [])
        assert path.read_bytes() == before

    def test_what_is_missing_is_added_under_the_same_password_and_label(self, tmp_path: Path, name: str) -> None:
        path = from_ansible(tmp_path, name)
        before = Envelope.parse(path.read_text())
        found, _ = reveal(path, HEAT, sources=OPENED)
        after = Envelope.parse(path.read_text())
        old, new = (envelope.open(Secret("correct horse")) for envelope in (before, after))
        assert old is not None
        assert new == Blob(old.reveal() + f"{HEAT}: {found[HEAT]}\n".encode())
        assert after.label == before.label
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_nothing_of_it_is_ever_on_the_disk_in_the_clear(
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[bytes] = []
        monkeypatch.setattr(os, "fsync", lambda _: written.extend(file.read_bytes() for file in tmp_path.iterdir()))
        reveal(from_ansible(tmp_path, name), HEAT, sources=OPENED)
        assert len(written) > 2
        assert all(content.startswith(b"$ANSIBLE_VAULT;") for content in written)

    def test_a_wrong_password_is_one_mistake_with_the_way_out(self, tmp_path: Path, name: str) -> None:
        wrong = SecretSources(vault=VaultPassword(None, "incorrect horse"))
        (mistake,) = refused(from_ansible(tmp_path, name), NOVA, HEAT, sources=wrong)
        assert mistake.file == str(tmp_path / "secrets.yaml")
        assert "HYBRIDMSG_VAULT_PASSWORD does not open it" in mistake.problem
        assert "horse" not in str(mistake)

    def test_without_a_password_the_way_to_give_one_is_told(self, tmp_path: Path, name: str) -> None:
        (mistake,) = refused(from_ansible(tmp_path, name))
        assert mistake.problem.startswith("is encrypted with ansible-vault. ")
        assert "hybridmsg.secrets.vault_password_file" in mistake.problem

    def test_others_may_not_read_it_either(self, tmp_path: Path, name: str) -> None:
        path = from_ansible(tmp_path, name)
        path.chmod(0o644)
        (mistake,) = refused(path, sources=OPENED)
        assert "chmod 600" in mistake.problem


def test_a_damaged_encrypted_file_is_named(tmp_path: Path) -> None:
    (mistake,) = refused(secrets_file(tmp_path, "$ANSIBLE_VAULT;1.1;AES256\n3334\n"), sources=OPENED)
    assert "is cut off" in mistake.problem


def test_a_line_inside_an_encrypted_file_is_told_as_such(tmp_path: Path) -> None:
    path = from_ansible(tmp_path, "whole-1.1")
    (mistake,) = refused(path, "keystone_auth_admin_passwort", sources=OPENED)
    assert (mistake.file, mistake.line) == (f"{path} (decrypted)", 5)


class TestEncryptedValues:
    def test_those_that_are_wanted_are_opened_and_others_left_alone(self, tmp_path: Path) -> None:
        path = from_ansible(tmp_path, "values")
        found, generated = reveal(path, NOVA, HEAT, ERLANG_COOKIE, sources=OPENED)
        assert found == {NOVA: "inline-nova", HEAT: "inline-h\u00e4at$", ERLANG_COOKIE: "in-the-clear"}
        assert generated == []

    def test_one_that_another_source_replaces_need_not_open(self, tmp_path: Path) -> None:
        path = from_ansible(tmp_path, "values")
        assert reveal(path, NOVA, sources=elsewhere({NOVA: "in-environment"}))[0] == {NOVA: "in-environment"}
        (mistake,) = refused(path, sources=elsewhere({NOVA: "short"}))
        assert "shorter than 8" in mistake.problem

    def test_what_is_missing_is_added_encrypted_like_the_last_one_that_opens(self, tmp_path: Path) -> None:
        path = from_ansible(tmp_path, "values")
        before = path.read_text()
        glance = password_key("glance")
        found, _ = reveal(path, glance, sources=OPENED)
        added = path.read_text().removeprefix(before)
        assert added.startswith(f"{glance}: !vault |\n          $ANSIBLE_VAULT;1.2;AES256;osa\n")
        assert found[glance] not in added
        assert reveal(path, glance, sources=OPENED) == (found, [])

    def test_ends_of_line_stay_those_of_the_file(self, tmp_path: Path) -> None:
        path = from_ansible(tmp_path, "values")
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        found, _ = reveal(path, password_key("glance"), sources=OPENED)
        assert reveal(path, password_key("glance"), sources=OPENED) == (found, [])
        assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r\n")

    def test_nothing_is_added_in_the_clear_or_under_a_password_that_opens_nothing(self, tmp_path: Path) -> None:
        path = from_ansible(tmp_path, "values")
        for sources in (None, SecretSources(vault=VaultPassword(None, "incorrect horse"))):
            (mistake,) = refused(path, password_key("glance"), sources=sources)
            assert "keystone_auth_admin_password" in mistake.problem

    def test_a_wrong_password_is_one_mistake_that_names_every_value(self, tmp_path: Path) -> None:
        wrong = SecretSources(vault=VaultPassword(None, "incorrect horse"))
        (mistake,) = refused(from_ansible(tmp_path, "values"), NOVA, HEAT, sources=wrong)
        assert (mistake.line, mistake.file) == (4, str(tmp_path / "secrets.yaml"))
        assert f"does not open {NOVA}, {HEAT}" in mistake.problem

    def test_a_value_that_a_command_prints_encrypted_is_no_text(self, tmp_path: Path) -> None:
        printed = parse_yaml((DATA / "values.yml").read_bytes(), "command", confidential=True)
        with pytest.raises(ConfigurationError, match=f"command:4: {NOVA}: is not text"):
            load_or_generate(tmp_path / "secrets.yaml", [NOVA], sources=SecretSources((printed,), OPENED.vault))

    def test_a_damaged_value_is_named_by_its_key(self, tmp_path: Path) -> None:
        path = secrets_file(tmp_path, f"{NOVA}: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3334\n")
        (mistake,) = refused(path, sources=OPENED)
        assert (mistake.line, mistake.path) == (1, NOVA)
        assert "is cut off" in mistake.problem


def test_a_run_that_never_lets_the_secrets_go_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployer.model.passwords.LOCK_DEADLINE", 0.2)
    path = secrets_file(tmp_path, f"{NOVA}: correct-horse\n")
    holder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        assert "another run has been reading" in refused(path)[0].problem
    finally:
        os.close(holder)
    assert reveal(path, NOVA) == ({NOVA: "correct-horse"}, [])

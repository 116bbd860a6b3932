"""Secrets from the environment and from a command, and the password that opens an encrypted file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.errors import ConfigurationError, Mistake
from deployer.model import secret_sources
from deployer.model.secret_sources import VaultPassword, command_secrets, environment_secrets

NOVA = "nova_oslomsg_rpc_password"


def program(directory: Path, text: str, mode: int = 0o700) -> Path:
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return path


def failure(directory: Path, text: str) -> Mistake:
    file = command_secrets([str(program(directory, text))], directory)
    assert file.data == {}
    (mistake,) = file.mistakes
    return mistake


class TestEnvironment:
    def test_a_variable_is_the_key_in_capitals_behind_a_prefix(self) -> None:
        environ = {"HYBRIDMSG_SECRET_NOVA_OSLOMSG_RPC_PASSWORD": "given-one", "HYBRIDMSG_VAULT_PASSWORD": "x", "A": "b"}
        assert environment_secrets(environ).data == {NOVA: "given-one"}

    def test_a_mistake_in_it_names_the_environment(self) -> None:
        file = environment_secrets({})
        file.refuse((NOVA,), "is empty")
        assert str(file.mistakes[0]) == f"environment, HYBRIDMSG_SECRET_*: {NOVA}: is empty"


class TestCommand:
    @pytest.mark.parametrize("printed", [f"{NOVA}: given-one", f'{{"{NOVA}": "given-one"}}'], ids=["YAML", "JSON"])
    def test_what_it_prints_are_the_secrets(self, tmp_path: Path, printed: str) -> None:
        file = command_secrets([str(program(tmp_path, f"echo '{printed}'"))], tmp_path)
        assert (file.data, file.mistakes) == ({NOVA: "given-one"}, [])

    def test_its_words_reach_it_as_they_are(self, tmp_path: Path) -> None:
        path = program(tmp_path, 'printf "words: \'%s\'" "$*"')
        assert command_secrets([str(path), "$HOME; id", "a  b"], tmp_path).data == {"words": "$HOME; id a  b"}

    def test_it_runs_in_the_inventory_directory(self, tmp_path: Path) -> None:
        program(tmp_path, 'echo "directory: $PWD"')
        assert command_secrets(["./program"], tmp_path).data == {"directory": str(tmp_path)}

    def test_it_waits_for_no_input(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(secret_sources, "DEADLINE", 10)
        ours, (reader, writer) = os.dup(0), os.pipe()
        os.dup2(reader, 0)
        try:
            assert command_secrets([str(program(tmp_path, "cat; echo a: b"))], tmp_path).data == {"a": "b"}
        finally:
            os.dup2(ours, 0)
            for descriptor in (ours, reader, writer):
                os.close(descriptor)

    def test_a_failure_is_told_with_its_own_words(self, tmp_path: Path) -> None:
        mistake = failure(tmp_path, "echo no such vault >&2; exit 3")
        assert mistake.file == f"hybridmsg.secrets.command, {tmp_path}/program"
        assert mistake.problem == "ended with exit code 3: no such vault"

    def test_a_failure_without_words_is_told_by_its_exit_code(self, tmp_path: Path) -> None:
        assert failure(tmp_path, "exit 3").problem == "ended with exit code 3"

    @pytest.mark.parametrize(
        "words", [f"{NOVA}: hunter-2-x", "+ curl https://me:hunter-2-x@vault.example/", "token=hunter-2-x"]
    )
    def test_secrets_among_its_words_are_masked(self, tmp_path: Path, words: str) -> None:
        problem = failure(tmp_path, f"echo '{words}' >&2; exit 1").problem
        assert "***" in problem
        assert "hunter" not in problem

    def test_what_it_printed_is_masked_in_its_words_too(self, tmp_path: Path) -> None:
        printed = f"echo '{NOVA}: \"hunter-2-x\"'; echo 'what is hunter-2-x for' >&2; exit 1"
        assert failure(tmp_path, printed).problem.endswith("exit code 1: what is *** for")

    @pytest.mark.parametrize("printed", ["a: [hunter-2-x", "hunter-2-x", "- hunter-2-x", "a: *hunter-2-x"])
    def test_what_is_no_mapping_is_refused_without_a_quote(self, tmp_path: Path, printed: str) -> None:
        assert "hunter" not in str(failure(tmp_path, f"echo '{printed}'"))

    def test_a_command_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        (mistake,) = command_secrets(["./no-such-program", "--token=hunter-2-x"], tmp_path).mistakes
        assert str(mistake) == "hybridmsg.secrets.command, ./no-such-program: cannot be run: No such file or directory"

    def test_at_the_deadline_it_ends_with_all_it_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(secret_sources, "DEADLINE", 0.5)
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        try:
            # The inner sleep holds the pipe open: it reads as ended only once that process is gone too.
            assert "0.5 s" in failure(tmp_path, f"(sleep 300 > {fifo}); echo a: b").problem
            os.set_blocking(reader, True)
            assert os.read(reader, 1) == b""
        finally:
            os.close(reader)


class TestVaultPassword:
    def test_a_file_is_read_without_the_blanks_around_it(self, tmp_path: Path) -> None:
        path = tmp_path / "password"
        path.write_text("  correct horse \n")
        path.chmod(0o600)
        assert VaultPassword(path, "").secret.reveal() == "correct horse"

    def test_an_executable_is_asked(self, tmp_path: Path) -> None:
        assert VaultPassword(program(tmp_path, 'echo "correct horse"', 0o755), "").secret.reveal() == "correct horse"

    def test_the_environment_goes_first(self, tmp_path: Path) -> None:
        password = VaultPassword(tmp_path / "absent", "given")
        assert (password.secret.reveal(), password.origin) == ("given", "HYBRIDMSG_VAULT_PASSWORD")

    def test_without_a_source_there_is_none(self) -> None:
        assert not VaultPassword(None, "")

    @pytest.mark.parametrize(
        ("text", "mode", "words"),
        [
            ("x", 0o640, "has mode 0640: others may read it. Run: chmod 600"),
            ("x", 0o604, "has mode 0604"),
            (" \n", 0o600, "gives no password"),
            ("#!/bin/sh\necho x\n", 0o775, "has mode 0775: others may change it. Run: chmod go-w"),
            ("#!/bin/sh\necho no key in the agent >&2; exit 2\n", 0o700, "exit code 2: no key in the agent"),
            ("#!/bin/sh\n", 0o700, "gives no password"),
            ("hunter-2-x\n", 0o700, "cannot be run: Exec format error"),
        ],
    )
    def test_what_gives_no_password_is_named_with_the_way_out(
        self, tmp_path: Path, text: str, mode: int, words: str
    ) -> None:
        path = tmp_path / "password"
        path.write_text(text)
        path.chmod(mode)
        with pytest.raises(ConfigurationError) as caught:
            _ = VaultPassword(path, "").secret
        assert str(caught.value).startswith(f"{path}: ")
        assert words in str(caught.value)
        assert "hunter" not in str(caught.value)

    def test_an_absent_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"absent: cannot be read: No such file.*HYBRIDMSG_VAULT_PASSWORD"):
            _ = VaultPassword(tmp_path / "absent", "").secret

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    @pytest.mark.parametrize("mode", [0o600, 0o700])
    def test_what_belongs_to_another_user_is_refused(self, tmp_path: Path, mode: int) -> None:
        path = program(tmp_path, "echo x", mode)
        os.chown(path, 12345, -1)
        with pytest.raises(ConfigurationError, match="12345"):
            _ = VaultPassword(path, "").secret

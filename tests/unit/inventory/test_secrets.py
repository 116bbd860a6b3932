"""Where defaults.yaml says that secrets come from."""

from __future__ import annotations

import pytest

from deployer.model.inventory import load_deployment
from deployer.model.secrets import Blob, Secret
from deployer.model.vault import Envelope
from tests.unit.inventory.inventories import Write, check, settings

NOVA, COOKIE = "nova_oslomsg_rpc_password", "rabbitmq_cookie_token"


def test_a_command_is_asked_and_the_environment_goes_before_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write(
        defaults=settings(f"secrets: {{command: [printf, '{NOVA}: by-command\\n{COOKIE}: by-command\\n']}}")
    )
    monkeypatch.setenv("HYBRIDMSG_SECRET_NOVA_OSLOMSG_RPC_PASSWORD", "by-environment")
    deployment = load_deployment(directory)
    assert deployment.projects[0].password.reveal() == "by-environment"
    assert deployment.erlang_cookie.reveal() == "by-command"
    assert not (directory / "secrets.yaml").exists()


def test_a_vault_password_file_beside_the_inventory_opens_the_secrets_file(write: Write) -> None:
    directory = write(defaults=settings("secrets: {vault_password_file: vault-password}"))
    sealed = Envelope.seal(Blob(f"{NOVA}: in-the-vault\n{COOKIE}: in-the-vault\n".encode()), Secret("correct horse"))
    for name, text in (("vault-password", "correct horse\n"), ("secrets.yaml", sealed.text())):
        (directory / name).write_text(text)
        (directory / name).chmod(0o600)
    assert load_deployment(directory).projects[0].password.reveal() == "in-the-vault"


def test_a_command_without_words_is_refused(write: Write) -> None:
    path = "defaults.data.hybridmsg.secrets.command"
    check(write(defaults=settings("secrets: {command: []}")), "defaults.yaml", 5, path)


def test_a_command_line_is_no_list_of_words(write: Write) -> None:
    path = "defaults.data.hybridmsg.secrets.command"
    check(write(defaults=settings("secrets: {command: pass show cloud}")), "defaults.yaml", 5, path, "list")

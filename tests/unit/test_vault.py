"""ansible-vault's envelopes, held against files that ansible-core 2.19.14 wrote with the password PASSWORD."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.model.secrets import Blob, Secret
from deployer.model.vault import Envelope

DATA = Path(__file__).parent / "data" / "vault"
PASSWORD = Secret("correct horse")
WRITTEN = {name: (DATA / f"{name}.yml").read_text() for name in ("whole-1.1", "whole-1.2")}


@pytest.mark.parametrize(("name", "label"), [("whole-1.1", ""), ("whole-1.2", "osa")])
def test_what_ansible_encrypted_is_opened(name: str, label: str) -> None:
    envelope = Envelope.parse(WRITTEN[name])
    content = envelope.open(PASSWORD)
    assert envelope.label == label
    assert content is not None
    assert content.reveal().startswith(b"---\n# openstack-ansible's user_secrets.yml")


@pytest.mark.parametrize("name", WRITTEN)
def test_a_sealed_text_is_byte_for_byte_as_ansible_writes_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Envelope.parse(WRITTEN[name])
    content = theirs.open(PASSWORD)
    assert content is not None
    monkeypatch.setattr(os, "urandom", lambda _: theirs.salt)
    assert Envelope.seal(content, PASSWORD, theirs.label).text() == WRITTEN[name]


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 1000])
def test_any_content_comes_back(length: int) -> None:
    content = Blob(b"\xff" * length)
    assert Envelope.parse(Envelope.seal(content, PASSWORD, "a;b").text()).open(PASSWORD) == content


def test_no_two_seals_are_alike() -> None:
    assert Envelope.seal(Blob(b"x"), PASSWORD).text() != Envelope.seal(Blob(b"x"), PASSWORD).text()


def test_another_password_opens_nothing() -> None:
    assert Envelope.parse(WRITTEN["whole-1.1"]).open(Secret("incorrect horse")) is None


def test_a_changed_text_is_not_opened() -> None:
    last = WRITTEN["whole-1.1"].rstrip()
    changed = last[:-1] + ("1" if last[-1] == "2" else "2")
    assert Envelope.parse(changed).open(PASSWORD) is None


@pytest.mark.parametrize("eol", ["\n", "\r\n", "\n          "])
def test_ends_of_line_and_indents_do_not_matter(eol: str) -> None:
    assert Envelope.parse(WRITTEN["whole-1.2"].replace("\n", eol)).open(PASSWORD) is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not what ansible-vault writes"),
        ("$ANSIBLE_VAULT", "1.1 and 1.2"),
        ("$ANSIBLE_VAULT;1.0;AES\n3334\n", "1.1 and 1.2"),
        ("$ANSIBLE_VAULT;1.3;AES256\n3334\n", "1.1 and 1.2"),
        ("$ANSIBLE_VAULT;1.1;AES256\n", "cut off"),
        ("$ANSIBLE_VAULT;1.1;AES256\nhunter2\n", "cut off"),
        ("$ANSIBLE_VAULT;1.1;AES256\n3334\n", "cut off"),
        (WRITTEN["whole-1.1"][:200], "cut off"),
    ],
)
def test_what_cannot_be_an_envelope_is_refused_without_a_quote(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Envelope.parse(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None

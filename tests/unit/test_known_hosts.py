"""known_hosts files are read as sshd(8) describes them."""

from __future__ import annotations

import base64
import hmac
import time
from pathlib import Path

import pytest

from deployer.nornir_plugins.known_hosts import KnownHosts, fingerprint, load, lookup_name

BLOB = base64.b64encode(b"a key").decode()


def lines_for(tmp_path: Path, text: str, name: str) -> list[int]:
    """Return the numbers of the lines that know `name`."""
    file = tmp_path / "known_hosts"
    file.write_text(text)
    return [key.line for key in load(file).keys_for(name)]


def hashed(name: str) -> str:
    """Return the first word of a line as ssh-keygen -H writes it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


CASES = [
    ("a plain name", f"ctl1 ssh-ed25519 {BLOB}", "ctl1", True),
    ("another plain name", f"ctl1 ssh-ed25519 {BLOB}", "ctl11", False),
    ("names are in no case", f"CTL1 ssh-ed25519 {BLOB}", "Ctl1", True),
    ("one of a list", f"ctl1,10.0.0.1 ssh-ed25519 {BLOB}", "10.0.0.1", True),
    ("another port", f"[ctl1]:2222 ssh-ed25519 {BLOB}", "[ctl1]:2222", True),
    ("the port matters", f"ctl1 ssh-ed25519 {BLOB}", "[ctl1]:2222", False),
    ("a star", f"*.example.org ssh-ed25519 {BLOB}", "ctl1.example.org", True),
    ("a star before a port", f"[*.example.org]:2222 ssh-ed25519 {BLOB}", "[a.example.org]:2222", True),
    ("a question mark", f"ctl? ssh-ed25519 {BLOB}", "ctl1", True),
    ("a question mark is one character", f"ctl? ssh-ed25519 {BLOB}", "ctl10", False),
    ("a dot is a dot", f"*.example.org ssh-ed25519 {BLOB}", "ctl1-example.org", False),
    ("brackets are no set", f"[ab*]:22 ssh-ed25519 {BLOB}", "a:22", False),
    ("a negation wins", f"*,!ctl1 ssh-ed25519 {BLOB}", "ctl1", False),
    ("a negation of another", f"*,!ctl1 ssh-ed25519 {BLOB}", "ctl2", True),
    ("a hashed name", f"{hashed('ctl1')} ssh-ed25519 {BLOB}", "ctl1", True),
    ("another hashed name", f"{hashed('ctl1')} ssh-ed25519 {BLOB}", "ctl2", False),
    ("a hashed port", f"{hashed('[ctl1]:2222')} ssh-ed25519 {BLOB}", "[ctl1]:2222", True),
    ("a comment", f"# ctl1 ssh-ed25519 {BLOB}", "ctl1", False),
    ("a certificate authority is no host key", f"@cert-authority ctl1 ssh-ed25519 {BLOB}", "ctl1", False),
    ("a revoked key vouches for nobody", f"@revoked ctl1 ssh-ed25519 {BLOB}", "ctl1", False),
    ("a broken key", "ctl1 ssh-ed25519 %%%", "ctl1", False),
    ("a broken hash", f"|1|%|% ssh-ed25519 {BLOB}", "ctl1", False),
    ("half a line", "ctl1 ssh-ed25519", "ctl1", False),
    ("a comment at the end", f"ctl1 ssh-ed25519 {BLOB} root@ctl1 of 2026", "ctl1", True),
]


@pytest.mark.parametrize(("text", "name", "known"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_line_knows_a_name(tmp_path: Path, text: str, name: str, known: bool) -> None:  # noqa: FBT001  # a parameter
    assert lines_for(tmp_path, text, name) == ([1] if known else [])


def test_broken_lines_do_not_hide_the_others(tmp_path: Path) -> None:
    text = f"\n\x00\xff\nctl1\n# comment\nctl1 ssh-ed25519 {BLOB}\n{hashed('ctl1')} ssh-rsa {BLOB}\n"
    assert lines_for(tmp_path, text, "ctl1") == [5, 6]


def test_every_revoked_key_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f"@revoked * ssh-ed25519 {BLOB}\n")
    assert load(tmp_path / "file").revoked == {b"a key"}


def test_the_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(f"ctl1 ssh-ed25519 {BLOB}\n")
    first = load(file)
    assert load(file) is first
    file.write_text(f"ctl1,ctl2 ssh-ed25519 {BLOB}\n")
    assert load(file).keys_for("ctl2")


def test_a_missing_file_knows_nobody_and_says_that_it_is_missing(tmp_path: Path) -> None:
    known = load(tmp_path / "none")
    assert not known.exists
    assert known.keys_for("ctl1") == []


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("~/known_hosts").path == tmp_path / "known_hosts"


def test_ten_thousand_lines_take_no_longer_than_a_human_blink(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("".join(f"host{number} ssh-ed25519 {BLOB}\n" for number in range(10_000)))
    began = time.process_time()
    assert len(load(file).keys_for("host9999")) == 1
    assert time.process_time() - began < 1, "paramiko's quadratic reader takes about 12 s"


def test_only_a_port_other_than_22_is_part_of_the_name() -> None:
    assert [lookup_name("ctl1", 22), lookup_name("ctl1", 2222)] == ["ctl1", "[ctl1]:2222"]


def test_the_fingerprint_is_what_ssh_keygen_prints() -> None:
    # From `ssh-keygen -lf` of this key.
    key = "AAAAC3NzaC1lZDI1NTE5AAAAIKcfesdxXHqzU1AUtSBZHLjvuzNxW6NjpbJrOEw0TA2H"
    assert fingerprint(base64.b64decode(key)) == "SHA256:fXGcL08YDFKeW7R8D2chbVVJFeZKqlMePNXluA+oItg"


def test_an_empty_table_knows_nobody() -> None:
    assert KnownHosts(Path("none")).keys_for("ctl1") == []

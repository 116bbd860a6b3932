"""Diffs as people see them: GNU's format, nothing secret, and every change visible."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.plan.diff import unified_diff

PATH = "/etc/nova/nova.conf"
HEADER = f"--- {PATH}\n+++ {PATH}\n"


def test_equal_contents_give_no_diff() -> None:
    assert unified_diff(PATH, b"a = 1\n", b"a = 1\n") == ""
    assert unified_diff(PATH, None, None) == ""


def test_three_lines_of_context_surround_a_change() -> None:
    before = b"".join(b"k%d = 1\n" % number for number in range(1, 10))
    assert unified_diff(PATH, before, before.replace(b"k5 = 1", b"k5 = 2")) == (
        f"{HEADER}@@ -2,7 +2,7 @@\n k2 = 1\n k3 = 1\n k4 = 1\n-k5 = 1\n+k5 = 2\n k6 = 1\n k7 = 1\n k8 = 1\n"
    )


def test_an_absent_file_is_dev_null() -> None:
    assert unified_diff(PATH, None, b"a\n") == f"--- /dev/null\n+++ {PATH}\n@@ -0,0 +1 @@\n+a\n"
    assert unified_diff(PATH, b"a\n", None) == f"--- {PATH}\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
    assert unified_diff(PATH, None, b"") == f"--- /dev/null\n+++ {PATH}\n"


def test_a_missing_final_newline_is_named() -> None:
    end = "\\ No newline at end of file\n"
    assert unified_diff(PATH, b"a", b"a\n") == f"{HEADER}@@ -1 +1 @@\n-a\n{end}+a\n"
    assert unified_diff(PATH, b"a\nb", b"c\nb") == f"{HEADER}@@ -1,2 +1,2 @@\n-a\n+c\n b\n{end}"


def test_bytes_that_are_no_utf8_are_shown_escaped() -> None:
    assert unified_diff(PATH, b"a = \xff\n", "a = é\n".encode()) == f"{HEADER}@@ -1 +1 @@\n-a = \\xff\n+a = é\n"


def test_a_change_of_nothing_but_a_secret_shows_as_a_change() -> None:
    diff = unified_diff(PATH, b"[x]\npassword = CANARY1\n", b"[x]\npassword = CANARY2\n")
    assert diff == f"{HEADER}@@ -1,2 +1,2 @@\n [x]\n-password = ***\n+password = ***  (secret changed)\n"


def test_a_secret_whose_key_is_above_the_context_stays_hidden() -> None:
    lines = b"".join(b"  CANARY%d\n" % number for number in range(9))
    diff = unified_diff(PATH, b"[x]\npassword = a\n" + lines, b"[x]\npassword = a\n" + lines + b"b = 1\n")
    assert "CANARY" not in diff
    assert diff.endswith("+b = 1\n")


@pytest.mark.parametrize(
    "path", ["/var/lib/rabbitmq/.erlang.cookie", "/var/lib/qdrouterd/qdrouterd.sasldb", "/etc/x.key"]
)
def test_a_file_that_is_a_secret_is_not_shown(path: str) -> None:
    diff = unified_diff(path, b"CANARY1", b"CANARY2")
    assert diff == f"--- {path}\n+++ {path}\nContents not shown: the whole file is a secret\n"


def test_a_binary_file_is_not_shown() -> None:
    assert unified_diff("/x", b"\0a", b"\0b") == "--- /x\n+++ /x\nContents not shown: binary\n"


lines = st.lists(st.sampled_from(["a = 1", "b = 2", "c", "", "  d", "\u2028", "\x0c"]), max_size=25)
contents = st.tuples(lines, st.booleans()).map(lambda made: "\n".join(made[0]) + "\n" * made[1])


@pytest.mark.skipif(shutil.which("patch") is None, reason="holds the diff against GNU patch, which is not installed")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=contents, after=contents)
def test_patch_makes_the_new_file_of_the_old_one(
    tmp_path_factory: pytest.TempPathFactory, before: str, after: str
) -> None:
    file: Path = tmp_path_factory.mktemp("patch") / "file"
    file.write_bytes(before.encode())
    diff = unified_diff(PATH, before.encode(), after.encode())
    subprocess.run(["patch", "-s", str(file)], input=diff.encode(), check=bool(diff), capture_output=True)
    assert (file.read_bytes() if file.exists() else b"") == after.encode()

"""Frames are found again however the bytes are cut; the bundle carries the agent whole."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer.nornir_plugins.bundle import BOOT, agent_bundle
from deployer.nornir_plugins.frames import Decoder, encode

MESSAGES = st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=3), max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=MESSAGES, size=st.integers(1, 40))
def test_messages_come_out_as_they_went_in_however_they_are_cut(messages: list[dict[str, object]], size: int) -> None:
    data = b"".join(encode(message) for message in messages)
    decoder = Decoder()
    seen = [message for start in range(0, len(data), size) for message in decoder.feed(data[start : start + size])]
    assert seen == messages


def test_text_in_place_of_a_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="something else than the agent"):
        list(Decoder().feed(b"Traceback (most recent call last):"))


def test_the_bundle_has_every_file_of_agent_and_probe_and_nothing_else() -> None:
    root = Path(__file__).parents[2]
    wanted = {
        str(file.relative_to(root))
        for package in ("agent", "probe")
        for file in (root / "deployer" / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(io.BytesIO(agent_bundle())) as bundle:
        assert set(bundle.namelist()) == wanted | {"deployer/__init__.py", "__main__.py"}
        assert bundle.read("deployer/__init__.py") == b""


def test_the_bundle_is_the_same_bytes_each_time() -> None:
    first = agent_bundle()
    agent_bundle.cache_clear()
    assert agent_bundle() == first


def test_a_boot_whose_controller_is_gone_ends_without_a_traceback() -> None:
    boot = subprocess.run(
        [sys.executable, "-I", "-c", BOOT, "n"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (boot.returncode, boot.stdout, boot.stderr) == (1, b"hybridmsg-agent 1 n\n", b"")


def test_a_boot_cut_off_in_its_bundle_ends_without_a_traceback() -> None:
    boot = subprocess.run([sys.executable, "-I", "-c", BOOT, "n"], input=b"100\nabc", capture_output=True, check=False)
    assert (boot.returncode, boot.stderr) == (1, b"")

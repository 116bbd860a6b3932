"""A small right inventory, and the ways to break it and to look at what is said then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from deployer.errors import ConfigurationError, Mistake
from deployer.model.inventory import load_deployment

HOSTS = """\
    msg1:
      hostname: 10.0.0.1
      groups: [rabbitmq]
    ctl1:
      hostname: 10.0.0.2
      groups: [nova]
    """
DEFAULTS = """\
    username: deploy
    connection_options: {hybridmsg_ssh: {extras: {key_file: ~/.ssh/id_ed25519}}}
    """
Write = Callable[..., Path]


def settings(text: str) -> str:
    """Return defaults.yaml with `text` as data.hybridmsg, which begins on line 5."""
    body = "".join(f"    {line}\n" for line in dedent(text).splitlines())
    return f"{dedent(DEFAULTS)}data:\n  hybridmsg:\n{body}"


def extras(text: str) -> str:
    """Return hosts.yaml with `text` in the extras of ctl1, on line 10."""
    return (
        dedent(HOSTS) + f"  connection_options:\n    hybridmsg_ssh:\n      extras:\n        {{key_file: k, {text}}}\n"
    )


def mistakes(directory: Path) -> list[Mistake]:
    with pytest.raises(ConfigurationError) as caught:
        load_deployment(directory)
    return caught.value.mistakes


def only_mistake(directory: Path) -> Mistake:
    found = mistakes(directory)
    assert len(found) == 1, [str(mistake) for mistake in found]
    return found[0]


def check(directory: Path, file: str, line: int | None, path: str, *words: str) -> None:
    """The one mistake there is names this place and holds these words."""
    mistake = only_mistake(directory)
    assert (Path(mistake.file).name, mistake.line, mistake.path) == (file, line, path), str(mistake)
    for word in words:
        assert word in mistake.problem

"""deployer.plan.effective held against oslo.config itself: generated files in the order of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from deployer.errors import ConfigurationError
from deployer.ini import IniFile
from deployer.plan.effective import Effective, Found, Name

Read = TypeVar("Read")

OPTION, OLD, OLDEST = ("group", "url"), ("DEFAULT", "old_url"), ("past", "url")
REFERRED = ("DEFAULT", "host"), ("group", "host"), ("other", "host"), ("DEFAULT", "name")

# A bare $ and what no name follows stay as they are; the files set all names that are referred to, or a default does.
PIECES = ["a", "-", " ", "%", "$$", r"\$", "$", "${", "$1", "$host", "${host}", "$name", "${other.host}", "$group.host"]
PLAIN = ["", "x", "$$", "y$$host", r"\$host"]
values = st.lists(st.sampled_from(PIECES), max_size=4).map("".join).map(str.strip)
entries = st.tuples(st.sampled_from((OPTION, OLD, OLDEST)), values) | st.tuples(
    st.sampled_from(REFERRED), st.sampled_from(PLAIN)
)
files = st.lists(st.lists(entries, max_size=6), min_size=1, max_size=4)
on_files = settings(max_examples=150, deadline=None)

DEFAULTS = [(name, "set") for name in REFERRED]
"""The first of all files: what is referred to is set somewhere."""


def render(entries: list[tuple[Name, str]]) -> str:
    return "".join(f"[{section}]\n{key} = {value}\n" for (section, key), value in entries)


def ours(texts: Mapping[str, str]) -> Effective:
    return Effective("ctl1", "nova-api", [(path, IniFile.parse(text.encode(), path)) for path, text in texts.items()])


def oslo(texts: Mapping[str, str], *, multi: bool) -> cfg.ConfigOpts:
    deprecated = [cfg.DeprecatedOpt(key, group=section) for section, key in (OLD, OLDEST)]
    kind = cfg.MultiStrOpt if multi else cfg.StrOpt
    conf = cfg.ConfigOpts()
    conf.register_opt(kind("url", deprecated_opts=deprecated), group="group")
    for section, key in REFERRED:
        conf.register_opt(cfg.StrOpt(key), group=None if section == "DEFAULT" else section)
    with TemporaryDirectory() as directory:
        paths = [Path(directory, path) for path in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text)
        conf([f"--config-file={path}" for path in paths], project="x", default_config_files=[], default_config_dirs=[])
    return conf


def texts_of(drawn: list[list[tuple[Name, str]]]) -> dict[str, str]:
    return {f"{number}.conf": render(own) for number, own in enumerate([DEFAULTS, *drawn])}


def ours_or_refused(read: Callable[[], Read]) -> Read | str:
    try:
        return read()
    except ConfigurationError:
        return "refused"


def oslos_or_refused(texts: Mapping[str, str], *, multi: bool) -> object:
    try:
        return oslo(texts, multi=multi).group.url
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
        return "refused"


@on_files
@given(files)
def test_a_scalar_is_what_oslo_config_finds_in_all_files_and_under_all_names(
    drawn: list[list[tuple[Name, str]]],
) -> None:
    texts = texts_of(drawn)
    found = ours_or_refused(lambda: ours(texts).get(*OPTION, OLD, OLDEST))
    assert (found.value if isinstance(found, Found) else found) == oslos_or_refused(texts, multi=False)


@on_files
@given(files)
def test_a_multi_valued_option_has_oslo_configs_values_in_its_order(drawn: list[list[tuple[Name, str]]]) -> None:
    texts = texts_of(drawn)
    found = ours_or_refused(lambda: [one.value for one in ours(texts).get_all(*OPTION, OLD, OLDEST)])
    assert (found or None) == oslos_or_refused(texts, multi=True)


def unit(**texts: str) -> Effective:
    return ours({f"/etc/{name}.conf": text for name, text in texts.items()})


@pytest.mark.parametrize(
    "text",
    [
        "transport_url = rabbit://$my_ip/\n",
        "transport_url = rabbit://${my_ip}/\n",
        "transport_url = rabbit://$a\na = $my_ip\n",
        "transport_url = $nobody.my_ip\n",
        "transport_url = $transport_url\n",
        "transport_url = $a\na = $b\nb = $a\n",
    ],
    ids=["$name", "${name}", "of a referred one", "$group.name", "itself", "in a circle"],
)
def test_what_refers_to_a_name_that_nobody_sets_is_refused_with_host_unit_file_and_line(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        unit(nova=f"[DEFAULT]\n{text}").get("DEFAULT", "transport_url")
    [mistake] = caught.value.mistakes
    assert (mistake.file, mistake.path, mistake.line) == ("ctl1: /etc/nova.conf", "nova-api", 2)
    assert "Write the value itself there" in mistake.problem


def test_a_name_that_nobody_sets_is_in_nobodys_way_where_the_value_does_not_win() -> None:
    conf = unit(nova="[DEFAULT]\ntransport_url = $my_ip\n", later="[DEFAULT]\ntransport_url = x\n")
    assert conf.text("DEFAULT", "transport_url") == "x"


def test_an_option_of_the_projects_own_is_not_taken_for_oslo_messagings() -> None:
    text = "[DEFAULT]\nnotification_driver = taskflow_driver\n"
    ini = IniFile.parse(text.encode(), "x.conf")
    conf = Effective("ctl1", "masakari-engine", [("x.conf", ini)], ("notification_driver",))
    assert conf.get_all("oslo_messaging_notifications", "driver", ("DEFAULT", "notification_driver")) == []
    assert conf.text("DEFAULT", "notification_driver") == "taskflow_driver"


def test_no_form_of_what_was_found_shows_its_value() -> None:
    found = unit(nova="[DEFAULT]\ntransport_url = rabbit://n:canary@h/\n").get("DEFAULT", "transport_url")
    assert found is not None
    assert "canary" not in repr(found) + str(found)

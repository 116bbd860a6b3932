"""deployer.ini held against oslo.config's own parser on generated files; single edits are in test_ini."""

from __future__ import annotations

import io
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import iniparser

from deployer.errors import FileRefused
from deployer.ini import IniFile

Model = dict[tuple[str, str], list[str]]
Edit = tuple[str, str, str, list[str]]

SECTIONS = ["DEFAULT", "default", "a", "A", " a ", "a:b", "x]y"]
KEYS = ["k", "K", "k k", "driver", "transport_url"]

on_files = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Oracle(iniparser.BaseParser):
    """Collects what oslo.config reads, by normalized group and key (as cfg.ConfigParser does)."""

    def __init__(self) -> None:
        super().__init__()
        self.values: Model = {}
        self.section = ""

    def new_section(self, section: str) -> None:
        self.section = group(section)

    def assignment(self, key: str, value: list[str]) -> None:
        if not self.section:
            raise iniparser.ParseError("no section", self.lineno, "")
        self.values.setdefault((self.section, key), []).append("\n".join(value))


def group(name: str) -> str:
    return name if name == "DEFAULT" else name.lower()


def oslo_reads(data: bytes) -> Model:
    oracle = Oracle()
    oracle.parse(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8").readlines())
    return oracle.values


def parse(data: bytes) -> IniFile:
    return IniFile.parse(data, "generated.conf")


text_without_newlines = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]) | st.sampled_from(" \t\"'#;:=[]$"),
    max_size=12,
)
plain_values = st.text("a1 :=#;\"'", max_size=6).map(lambda text: f"v{text}v")
values = text_without_newlines | plain_values
blanks = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def options(draw: st.DrawFn) -> list[str]:
    key, delimiter = draw(st.sampled_from(KEYS)), draw(st.sampled_from("=:"))
    value = draw(plain_values | st.sampled_from(["", '"', "''", "' q '", '"q"', "\"a'"]) | text_without_newlines)
    first = f"{key}{draw(blanks)}{delimiter}{draw(blanks)}{value}{draw(blanks)}"
    more = draw(st.lists(st.sampled_from(["  more", "\t# no comment", "  [no section]", " k = no key"]), max_size=2))
    return [first, *more]


other_lines = st.sampled_from(["", "  ", "\t", "# comment", "; comment", "#k = default", "#driver =", "# k: prose"])
blocks = options() | other_lines.map(lambda line: [line])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(other_lines, max_size=2))
    for section in draw(st.lists(st.sampled_from(SECTIONS), max_size=4)):
        lines.append(f"[{section}]{draw(blanks)}")
        for block in draw(st.lists(blocks, max_size=5)):
            lines += block
    eol = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    text = eol.join(lines) + (eol if draw(st.booleans()) else "")
    return text.encode()


def edits() -> st.SearchStrategy[Edit]:
    where = st.sampled_from([*SECTIONS, "new"]), st.sampled_from([*KEYS, "new"])
    one = st.tuples(st.just("set"), *where, st.lists(values, min_size=1, max_size=1))
    many = st.tuples(st.just("set_all"), *where, st.lists(values, max_size=3))
    none = st.tuples(st.just("unset"), *where, st.lists(values, max_size=0))
    return one | many | none


def apply(ini: IniFile, edit: Edit) -> None:
    kind, section, key, new = edit
    if kind == "set":
        ini.set(section, key, new[0])
    elif kind == "set_all":
        ini.set_all(section, key, new)
    else:
        ini.unset(section, key)


def expect(model: Model, edit: Edit) -> None:
    kind, section, key, new = edit
    where = (group(section), key)
    old = model.pop(where, [])
    wanted = [*old[:-1], *new] if kind == "set" else new
    if wanted:
        model[where] = wanted


def split_off(data: bytes, section: str, key: str) -> tuple[list[str], list[str]]:
    """Return the lines of the option, and all others; of a file that oslo.config accepts."""
    own: list[str] = []
    others: list[str] = []
    here = inside = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", data.decode()):
        if line.strip() and line[0] not in " \t":
            inside = here and line[0] not in "[#;" and line.replace(":", "=").partition("=")[0].strip() == key
        elif not line.strip():
            inside = False
        if line[:1] == "[":
            here = group(line.rstrip()[1:-1]) == group(section)
        (own if inside else others).append(line)
    return own, others


@on_files
@given(st.text(st.sampled_from("[]=:#; \t\"'aKk\n\x0c\x85\xa0"), max_size=40).map(str.encode))
def test_the_same_files_are_read_and_refused_as_by_oslo_config(data: bytes) -> None:
    try:
        expected = oslo_reads(data)
    except iniparser.ParseError:
        expected = None
    try:
        ini = parse(data)
    except FileRefused:
        assert expected is None
        return
    assert expected is not None
    assert {where: ini.get_all(*where) for where in expected} == expected
    assert ini.render() == data


@on_files
@given(files(), st.lists(edits(), max_size=4))
def test_oslo_config_reads_back_what_was_set_and_nothing_else_changed(data: bytes, changes: list[Edit]) -> None:
    ini, model = parse(data), oslo_reads(data)
    for change in changes:
        apply(ini, change)
        expect(model, change)
    assert oslo_reads(ini.render()) == model


@on_files
@given(files(), edits())
def test_lines_of_other_keys_stay_byte_for_byte(data: bytes, edit: Edit) -> None:
    _, section, key, _ = edit
    ini = parse(data)
    apply(ini, edit)
    before, after = split_off(data, section, key)[1], split_off(ini.render(), section, key)[1]
    kept, added = after[: len(before)], after[len(before) :]
    assert [line.rstrip("\r\n") for line in kept] == [line.rstrip("\r\n") for line in before]
    assert kept[:-1] == before[:-1]
    assert [line.strip("\r\n") for line in added if line.strip()] in ([], [f"[{section}]"])


@on_files
@given(files(), edits())
def test_editing_twice_is_editing_once(data: bytes, edit: Edit) -> None:
    ini = parse(data)
    apply(ini, edit)
    once = ini.render()
    apply(ini, edit)
    assert ini.render() == once
    again = parse(once)
    apply(again, edit)
    assert again.render() == once


@on_files
@given(files(), plain_values)
def test_setting_the_old_value_again_restores_the_bytes(data: bytes, value: str) -> None:
    ini = parse(data)
    for (section, key), old in oslo_reads(data).items():
        # `k =` has no spacing to remember, a lone quote no pair, and a value of several lines cannot be set.
        if old[-1] and "\n" not in old[-1]:
            ini.set(section, key, value)
            ini.set(section, key, old[-1])
    assert ini.render() == data


@on_files
@given(files())
def test_line_of_names_the_line_that_wins(data: bytes) -> None:
    ini = parse(data)
    lines = data.decode().split("\n")
    for section, key in oslo_reads(data):
        number = ini.line_of(section, key)
        assert number is not None
        assert lines[number - 1].replace(":", "=").partition("=")[0].strip() == key
        rest = "\n".join(["[a]", *lines[number - 1 :]]).encode()
        first_of_rest = oslo_reads(rest)[("a", key)][0]
        assert first_of_rest == ini.get(section, key)

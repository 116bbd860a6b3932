"""deployer.ini held against oslo.config's own reader on generated files; single edits are in test_ini.

`make fuzz` runs the same with 10,000 files each and a new seed.
"""

from __future__ import annotations

import functools
import io
import itertools
import os
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg, iniparser

from deployer.errors import FileRefused
from deployer.ini import IniFile

Model = dict[tuple[str, str], list[str]]
Edit = tuple[str, str, str, list[str]]

SECTIONS = ["DEFAULT", "default", "a", "A", " a ", "a:b", "x]y"]
KEYS = ["k", "K", "k k", "driver", "transport_url"]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
on_files = settings(max_examples=500, deadline=None, suppress_health_check=checks)
if EXAMPLES:
    # Where CI is set hypothesis would try the same files every time.
    on_files = settings(on_files, max_examples=EXAMPLES, derandomize=False, database=None)


class Oracle(iniparser.BaseParser):
    """Collects what oslo.config reads, by normalized group and key (as cfg.ConfigParser does)."""

    def __init__(self) -> None:
        super().__init__()
        self.values: Model = {}
        self.order: list[tuple[str, str]] = []
        self.section = ""

    def new_section(self, section: str) -> None:
        self.section = group(section)

    def assignment(self, key: str, value: list[str]) -> None:
        if not self.section:
            raise iniparser.ParseError("no section", self.lineno, "")
        self.order.append((self.section, key))
        self.values.setdefault((self.section, key), []).append("\n".join(value))


def group(name: str) -> str:
    return name if name == "DEFAULT" else name.lower()


def oslo_parses(data: bytes) -> Oracle:
    oracle = Oracle()
    oracle.parse(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    return oracle


def oslo_reads(data: bytes) -> Model:
    return oslo_parses(data).values


def parse(data: bytes) -> IniFile:
    return IniFile.parse(data, "generated.conf")


# Whole lines are drawn from lists, and one free text a file: a draw for each part of a line takes ten times as long.
BLANKS = ["", " ", "  ", "\t"]
WRITTEN = [
    "v",
    "v v",
    "",
    '"',
    "'",
    "''",
    '""',
    "' q '",
    '"q"',
    "\"a'",
    "v # no comment",
    "a=b:c",
    "$name ${name} $$ %(k)s",
]
OPTIONS = [
    (f"{key}{before}{delimiter}{after}{value}{end}",)
    for key, before, delimiter, after, value, end in itertools.product(
        KEYS, BLANKS, "=:", BLANKS, WRITTEN, ["", " ", "\t"]
    )
]
MORE = ["  more", "\t# no comment", "  [no section]", " k = no key", "  'q'"]
LONG = [
    (f"{key} = {value}", *more)
    for key in KEYS
    for value in ("v", "", "'q'")
    for more in itertools.permutations(MORE, 2)
]
OTHERS = ["", "  ", "\t", "# comment", "; comment", "#k = default", ";k: another", ";driver=", "#k k:", "# k: prose"]
HEADERS = [f"[{section}]{blank}" for section in SECTIONS for blank in BLANKS]
FREE = "free"

text_without_newlines = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]) | st.sampled_from(" \t\"'#;:=[]$"),
    max_size=10,
)
plain_values = st.sampled_from(["v", "vv", "v = v", "v;#v", "'v", 'v"', "v'v'v", "v$v"])
values = plain_values | text_without_newlines
lines_of_a_block = (
    st.sampled_from(OPTIONS)
    | st.sampled_from([*LONG, *((f"{FREE}{key} =",) for key in KEYS)])
    | st.sampled_from([(line,) for line in (*OTHERS, *HEADERS)])
)


def assemble(first: str, blocks: list[tuple[str, ...]], free: str, eol: str, *, ended: bool) -> bytes:
    lines = [first]
    inside = first.startswith("[")
    for block in blocks:
        inside = inside or block[0].startswith("[")
        if inside or not block[0].strip() or block[0][0] in "#;":
            lines += [f"{line.removeprefix(FREE)}{free}" if line.startswith(FREE) else line for line in block]
    return (eol.join(lines) + (eol if ended else "")).encode()


files = st.builds(
    assemble,
    st.sampled_from([*HEADERS, *OTHERS]),
    st.lists(lines_of_a_block, max_size=12),
    text_without_newlines,
    st.sampled_from(["\n", "\n", "\r\n"]),
    ended=st.booleans(),
)


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
@given(files, st.lists(edits(), max_size=4))
def test_oslo_config_reads_back_what_was_set_and_nothing_else_changed(data: bytes, changes: list[Edit]) -> None:
    ini, model = parse(data), oslo_reads(data)
    for change in changes:
        apply(ini, change)
        expect(model, change)
    assert oslo_reads(ini.render()) == model


@on_files
@given(files, edits())
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
@given(files, edits())
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
@given(files, plain_values)
def test_setting_the_old_value_again_restores_the_bytes(data: bytes, value: str) -> None:
    ini = parse(data)
    for (section, key), old in oslo_reads(data).items():
        # `k =` has no spacing to remember, a lone quote no pair, and a value of several lines cannot be set.
        if old[-1] and "\n" not in old[-1]:
            ini.set(section, key, value)
            ini.set(section, key, old[-1])
    assert ini.render() == data


@on_files
@given(files)
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


@on_files
@given(files)
def test_options_are_told_in_the_order_of_the_file(data: bytes) -> None:
    assert list(parse(data).options()) == oslo_parses(data).order


@on_files
@given(files, st.sampled_from(["DEFAULT", "A"]), st.sampled_from(["k", "driver", "transport_url"]))
def test_a_new_key_stands_where_a_person_would_put_it(data: bytes, section: str, key: str) -> None:
    ini = parse(data)
    ini.unset(section, key)
    before = ini.render().decode().split("\n")
    ini.set(section, key, "v")
    below = line_above(before, section, key)
    if below is None:
        after = ini.render().decode().replace("\r", "").split("\n")
        assert after[-3:] == [f"[{section}]", f"{key} = v", ""]
    else:
        assert ini.line_of(section, key) == below + 1


def line_above(lines: list[str], section: str, key: str) -> int | None:
    """Return the number of the last commented default, else of the last option's last line, else of the header."""
    headers, options, defaults = [], [], []
    here = False
    for number, line in enumerate(lines, 1):
        if line[:1] == "[":
            here = group(line.rstrip()[1:-1]) == group(section)
            headers += [number] if here else []
        elif here and line.strip():
            comment = line[0] in "#;"
            options += [] if comment else [number]
            defaults += [number] if comment and re.match(rf".{re.escape(key)}\s*[=:]", line) else []
    return next(iter(defaults[-1:] or options[-1:] or headers[:1]), None)


def service_reads(path: Path) -> dict[str, object]:
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt("name", default="me"), cfg.StrOpt("k"), cfg.StrOpt("transport_url")])
    conf.register_opts([cfg.StrOpt("name", default="me"), cfg.StrOpt("k"), cfg.MultiStrOpt("driver")], group="a")
    conf(["--config-file", str(path)], project="nova", default_config_files=[], default_config_dirs=[])
    return {name: value_of(conf, name) for name in ("k", "transport_url", "a.k", "a.driver")}


def value_of(conf: cfg.ConfigOpts, name: str) -> object:
    try:
        return functools.reduce(getattr, name.split("."), conf)
    except cfg.Error as error:
        return type(error)


@on_files
@given(files, values, st.lists(values, max_size=2))
def test_a_service_gets_what_was_set_and_all_else_as_before(
    tmp_path: Path, data: bytes, url: str, drivers: list[str]
) -> None:
    def escaped(value: str) -> str:
        return value.replace("$", "$$")

    url, *drivers = (value.replace("\\", "") for value in (url, *drivers))
    path = tmp_path / "nova.conf"
    path.write_bytes(data)
    before = service_reads(path)
    ini = parse(data)
    ini.set("DEFAULT", "transport_url", escaped(url))
    ini.set_all("A", "driver", [*map(escaped, drivers)])
    path.write_bytes(ini.render())
    assert service_reads(path) == {**before, "transport_url": url, "a.driver": drivers or None}

"""What deployer.ini promises of single edits; test_ini_properties holds it against oslo.config on any file."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from bench import ini as ini_bench
from deployer.errors import FileRefused
from deployer.ini import IniFile

DATA = Path(__file__).parent / "data" / "ini"


def parse(text: str) -> IniFile:
    return IniFile.parse(text.encode(), "nova.conf")


def after_set(text: str, section: str, key: str, value: str) -> str:
    ini = parse(text)
    ini.set(section, key, value)
    assert ini.get(section, key) == value
    return ini.render().decode()


def edit_generated(ini: IniFile) -> None:
    ini.set("DEFAULT", "transport_url", "amqp://nova:x@qdr1:5672//nova")
    ini.set("api", "max_limit", "1000")
    ini.set_all("oslo_messaging_notifications", "driver", ["messagingv2", "log"])
    ini.set("oslo_messaging_amqp", "sasl_mechanisms", "PLAIN")


def edit_grown(ini: IniFile) -> None:
    ini.set("DEFAULT", "debug", "False")
    ini.set("DEFAULT", "enabled_apis", "osapi_compute")
    ini.set("DEFAULT", "log_file", "/var/log/n.log")
    ini.set("service:central", "workers", "3")
    ini.set("service:central", "threads", "4")
    ini.set("DEFAULT", "transport_url", "amqp://qdr1:5672/")
    ini.set("DEFAULT", "control_exchange", "nova")
    ini.set_all("oslo_messaging_notifications", "driver", ["noop"])
    ini.set("oslo_messaging_notifications", "y", "2")


class TestEditedFiles:
    @pytest.mark.parametrize("name", ["generated", "grown"])
    def test_a_file_is_edited_as_a_person_would(self, name: str) -> None:
        ini = IniFile.parse((DATA / f"{name}.before.conf").read_bytes(), name)
        {"generated": edit_generated, "grown": edit_grown}[name](ini)
        assert ini.render() == (DATA / f"{name}.after.conf").read_bytes()

    @pytest.mark.parametrize("name", ["generated", "grown"])
    def test_a_second_edit_changes_nothing(self, name: str) -> None:
        edited = (DATA / f"{name}.after.conf").read_bytes()
        ini = IniFile.parse(edited, name)
        {"generated": edit_generated, "grown": edit_grown}[name](ini)
        assert ini.render() == edited

    def test_oslo_config_reads_the_edited_file_as_told(self) -> None:
        conf = cfg.ConfigOpts()
        conf.register_opts([cfg.StrOpt("transport_url"), cfg.StrOpt("log_file"), cfg.BoolOpt("debug")])
        conf.register_opts([cfg.MultiStrOpt("driver")], group="oslo_messaging_notifications")
        conf(["--config-file", str(DATA / "grown.after.conf")], project="nova", default_config_dirs=[])
        assert conf.transport_url == "amqp://qdr1:5672/"
        assert (conf.log_file, conf.debug) == ("/var/log/n.log", False)
        assert conf.oslo_messaging_notifications.driver == ["noop"]


class TestReading:
    def test_the_last_value_wins_across_repeated_sections(self) -> None:
        ini = parse("[DEFAULT]\na = 1\n[x]\n[DEFAULT]\na = 2\n")
        assert ini.get_all("DEFAULT", "a") == ["1", "2"]
        assert ini.get("DEFAULT", "a") == "2"
        assert ini.line_of("DEFAULT", "a") == 5

    def test_group_names_fold_case_but_default_does_not(self) -> None:
        ini = parse("[Api]\na = 1\n[default]\nb = 2\n[DEFAULT]\nb = 3\n")
        assert ini.get("aPI", "a") == "1"
        assert ini.get_all("DEFAULT", "b") == ["3"]
        assert ini.get_all("Default", "b") == ["2"]

    def test_keys_do_not_fold_case_nor_dashes(self) -> None:
        ini = parse("[a]\nKey_a = 1\n")
        assert ini.get("a", "key_a") is None
        assert ini.get("a", "Key-a") is None

    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("k = v # c", "v # c"),
            ("k: a=b", "a=b"),
            ("k = ' a '", " a "),
            ("k = \"a'", "\"a'"),
            ('k = "', ""),
            ("k = ''''", "''"),
            ("k =", ""),
            ("k = a\n  ; b\n\tc = d", "a\n; b\nc = d"),
            ("k = $my_ip/%(x)s", "$my_ip/%(x)s"),
        ],
    )
    def test_a_value_is_what_oslo_config_reads(self, line: str, value: str) -> None:
        assert parse(f"[a]\n{line}\n").get_all("a", "k") == [value]

    def test_a_line_ends_at_a_newline_only(self) -> None:
        ini = parse("[a]\nk = x\x85y\u2028z\x0cw\nl = 1\n")
        assert ini.get("a", "k") == "x\x85y\u2028z\x0cw"
        assert ini.line_of("a", "l") == 3

    def test_every_option_is_told_in_the_order_of_the_file(self) -> None:
        ini = parse("[Api]\na = 1\n[DEFAULT]\nb = 2\n[api]\na = 3\n")
        ini.set("api", "c", "4")
        assert list(ini.options()) == [("api", "a"), ("DEFAULT", "b"), ("api", "a"), ("api", "c")]

    def test_an_absent_key_has_no_line(self) -> None:
        assert parse("[a]\n").line_of("a", "k") is None


class TestSetting:
    @pytest.mark.parametrize("line", ["k=v", "k = v", "k : v", "k\t=\tv", "k   =v  ", 'k = "v"', "k: 'v'\t"])
    def test_delimiter_spacing_and_quotes_stay(self, line: str) -> None:
        assert after_set(f"[a]\n{line}\n", "a", "k", "new") == f"[a]\n{line.replace('v', 'new')}\n"

    def test_an_empty_value_gets_the_spacing_of_its_delimiter(self) -> None:
        assert after_set("[a]\nk =\nl=\n", "a", "k", "v") == "[a]\nk = v\nl=\n"
        assert after_set("[a]\nk =\nl=\n", "a", "l", "v") == "[a]\nk =\nl=v\n"

    def test_crlf_files_stay_crlf(self) -> None:
        text = "[a]\r\nk = v\r\n  w\r\nl = 1"
        assert after_set(text, "a", "k", "x") == "[a]\r\nk = x\r\nl = 1"
        assert after_set(text, "a", "m", "x") == "[a]\r\nk = v\r\n  w\r\nl = 1\r\nm = x\r\n"
        assert after_set(text, "b", "m", "x") == f"{text}\r\n\r\n[b]\r\nm = x\r\n"

    def test_a_missing_final_newline_stays_missing(self) -> None:
        assert after_set("[a]\nk = v", "a", "k", "w") == "[a]\nk = w"
        assert after_set("[a]\nk = v\n w", "a", "k", "w") == "[a]\nk = w"

    def test_only_the_winning_occurrence_is_edited(self) -> None:
        assert after_set("[a]\nk = 1\nk = 2\n[A]\nk = 3\n", "a", "k", "4") == "[a]\nk = 1\nk = 2\n[A]\nk = 4\n"

    def test_a_value_that_wins_already_is_left_as_written(self) -> None:
        text = "[a]\nk = 1\nk :  '2'  \nl = x\n   y\n"
        assert after_set(text, "a", "k", "2") == text
        assert after_set(text, "a", "l", "x\ny") == text

    @pytest.mark.parametrize("value", [" a", "a\t", '"a"', "''", '"', "'", "a'", '"a', "", "\xa0a", "a ; b # c"])
    def test_a_value_is_read_back_as_given(self, value: str) -> None:
        for text in ("[a]\nk = v\n", "[a]\nk = 'v'\n", "[a]\n"):
            edited = after_set(text, "a", "k", value)
            assert parse(edited).get_all("a", "k") == [value]

    @pytest.mark.parametrize("value", ["a\nb", "a\r", "\n[DEFAULT]\nx = 1", "\0", "\ud800"])
    def test_a_value_that_no_line_can_hold_is_refused(self, value: str) -> None:
        ini = parse("[a]\nk = v\n")
        with pytest.raises(ValueError, match="line end") as caught:
            ini.set("a", "k", value)
        assert value not in str(caught.value)
        with pytest.raises(ValueError, match="line end"):
            ini.set_all("a", "k", ["fine", value])
        assert ini.render() == b"[a]\nk = v\n"

    @pytest.mark.parametrize("key", ["", " k", "k ", "#k", ";k", "[k", "a=b", "a:b", "a\nb"])
    def test_a_key_that_would_not_be_a_key_is_refused(self, key: str) -> None:
        with pytest.raises(ValueError, match="cannot be a key"):
            parse("[a]\n").set("a", key, "v")

    @pytest.mark.parametrize("section", ["", "a\nb", "a\r"])
    def test_a_section_that_would_not_be_a_section_is_refused(self, section: str) -> None:
        with pytest.raises(ValueError, match="section"):
            parse("[a]\n").set(section, "k", "v")

    def test_an_empty_file_gets_its_first_section(self) -> None:
        assert after_set("", "DEFAULT", "k", "v") == "[DEFAULT]\nk = v\n"
        assert after_set("# c\n\n", "DEFAULT", "k", "v") == "# c\n\n[DEFAULT]\nk = v\n"

    def test_a_new_key_goes_below_its_commented_default_though_options_follow(self) -> None:
        assert after_set("[a]\n#k = 1\nl = 2\n", "a", "k", "3") == "[a]\n#k = 1\nk = 3\nl = 2\n"

    def test_a_new_key_takes_its_neighbours_tight_spacing(self) -> None:
        assert after_set("[a]\nk=v\n", "a", "l", "w") == "[a]\nk=v\nl=w\n"

    def test_a_new_key_stays_out_of_the_value_above_it(self) -> None:
        assert after_set("[a]\nk = v\n  w\n\n# c\n[b]\n", "a", "l", "x") == "[a]\nk = v\n  w\nl = x\n\n# c\n[b]\n"

    def test_each_of_several_new_keys_goes_below_its_own_commented_default(self) -> None:
        ini = parse("[a]\n#k = 1\n# prose\n\n;l : 2\n#m=\n# more\n")
        for key in ("l", "m", "k", "n"):
            ini.set("a", key, "3")
        assert ini.render() == b"[a]\n#k = 1\nk = 3\n# prose\n\n;l : 2\nl = 3\n#m=\nm = 3\nn = 3\n# more\n"

    @pytest.mark.parametrize("between", ["", "# prose\n", "l = 1\n", "[b]\nl = 1\n[a]\n"])
    def test_of_several_commented_defaults_the_last_one_counts(self, between: str) -> None:
        text = f"[a]\n#k = 1\n{between}#k = 2\n"
        assert after_set(f"{text}# more\n", "a", "k", "3") == f"{text}k = 3\n# more\n"

    def test_without_one_a_new_key_goes_below_the_last_option_of_all_parts_of_its_section(self) -> None:
        above, below = "[a]\nl = 1\n[b]\n[a]\nm = 1\n", "[a]\n[b]\n"
        assert after_set(above + below, "a", "k", "3") == f"{above}k = 3\n{below}"

    def test_prose_that_names_the_key_is_no_commented_default(self) -> None:
        above, below = "[a]\n# k: the key\n# and its use\n#kk = 1\n#k = 1\n", "# more\n"
        assert after_set(above + below, "a", "k", "2") == f"{above}k = 2\n{below}"


class TestSettingAll:
    @pytest.mark.parametrize(
        ("values", "lines"),
        [
            (["1", "2"], "k=1\n#\nk : 2\n"),
            (["2"], "k=2\n#\n"),
            (["1", "3", "4"], "k=1\n#\nk : 3\nk = 4\n"),
            ([], "#\n"),
        ],
    )
    def test_lines_are_edited_in_place_then_added_or_removed(self, values: list[str], lines: str) -> None:
        ini = parse("[a]\nk=1\n#\nk : 2\nl = 0\n")
        ini.set_all("a", "k", values)
        assert ini.get_all("a", "k") == values
        assert ini.render().decode() == f"[a]\n{lines}l = 0\n"

    def test_no_values_for_an_absent_section_leave_the_file_alone(self) -> None:
        ini = parse("[a]\n")
        ini.set_all("b", "k", [])
        assert ini.render() == b"[a]\n"


def test_unset_removes_every_occurrence_with_its_continuation_lines() -> None:
    ini = parse("[a]\nk = 1\n  2\n# c\n[b]\nk = 3\n[A]\nk = 4")
    ini.unset("a", "k")
    assert ini.render() == b"[a]\n# c\n[b]\nk = 3\n[A]\n"
    assert ini.get("a", "k") is None


class TestRefusing:
    @pytest.mark.parametrize(
        ("data", "line", "problem"),
        [
            (b"\xef\xbb\xbf[a]\n", 1, "byte order mark"),
            (b"[a]\nk = \xe9t\xe9\n", 2, "not UTF-8"),
            (b"[a]\rk = v\r", 1, "carriage return"),
            (b"[a]\nk = v\r\r\n", 2, "carriage return"),
            (b"[a]\nk = \0\n", 2, "NUL"),
            ("[a]\n".encode("utf-16-le"), 1, "NUL"),
            (b"k = v\n", 1, "before the first section"),
            (b"[a]\nk\n", 2, "neither"),
            (b"[a]\n= v\n", 2, "no key"),
            (b"[a] # c\nk = v\n", 1, "does not end"),
            (b"[]\n", 1, "no name"),
            (b"[a]\n  k = v\n", 2, "continues nothing"),
            (b"[a]\nk = v\n\n  w\n", 4, "continues nothing"),
            (b"[a]\nk = v\n# c\n  w\n", 4, "continues nothing"),
        ],
    )
    def test_what_cannot_be_edited_safely_is_named_with_its_line(self, data: bytes, line: int, problem: str) -> None:
        with pytest.raises(FileRefused, match=problem) as caught:
            IniFile.parse(data, "/etc/nova/nova.conf")
        assert caught.value.line == line
        assert str(caught.value).startswith(f"/etc/nova/nova.conf:{line}: ")

    @pytest.mark.parametrize("data", [b"CANARY = 1\n", b"[a]\nCANARY\n", b"[CANARY\n", b"[a]\nCANARY\xff\n"])
    def test_a_refusal_shows_nothing_of_the_file(self, data: bytes) -> None:
        with pytest.raises(FileRefused) as caught:
            IniFile.parse(data, "nova.conf")
        assert "CANARY" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"


def test_a_file_of_10_000_lines_takes_about_as_long_as_oslo_config_itself() -> None:
    data = ini_bench.generated()
    pairs = [[ini_bench.milliseconds(work, data) for work in (ini_bench.edit, ini_bench.oslo)] for _ in range(5)]
    ours, theirs = map(min, zip(*pairs, strict=True))
    assert ours < 5 * theirs

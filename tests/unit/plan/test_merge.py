"""What a run set in a file goes back, and what others did to it since stays: also on generated files."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from deployer.errors import FileRefused
from deployer.ini import IniFile
from deployer.plan.merge import Merged, merge_back
from tests.unit.test_ini_properties import Edit, apply, edits, files, group, oslo_reads

PATH = "/etc/nova/nova.conf"
BEFORE = b"[DEFAULT]\n# The bus.\ntransport_url = rabbit://nova:canary-old@h\ndebug = false\n"
LEFT = (
    b"[DEFAULT]\n# The bus.\ntransport_url = amqp://nova:canary-new@r\ndebug = false\n"
    b"\n[oslo_messaging_amqp]\nssl = true\n"
)

generated = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
changes = st.lists(edits(), max_size=4)


def merged(now: bytes, *, force: bool = False) -> Merged:
    return merge_back(PATH, BEFORE, LEFT, now, force=force)


def edited(content: bytes, todo: list[Edit]) -> bytes:
    ini = IniFile.parse(content, PATH)
    for edit in todo:
        apply(ini, edit)
    return ini.render()


# Where nobody changed anything.


def test_an_unchanged_file_is_byte_for_byte_what_it_was() -> None:
    assert merged(LEFT) == Merged(BEFORE)


def test_a_file_that_is_back_already_stays_as_it_is() -> None:
    assert merged(BEFORE) == Merged(BEFORE)


def test_an_unchanged_file_need_be_no_configuration() -> None:
    assert merge_back(PATH, b"\xff", b"\xfe", b"\xfe").content == b"\xff"


# Where somebody edited.


def test_an_edit_of_an_option_that_the_run_did_not_set_stays_and_is_told() -> None:
    found = merged(LEFT.replace(b"debug = false", b"debug = true"))
    assert found.content == BEFORE.replace(b"debug = false", b"debug = true")
    assert (found.kept, found.conflicts) == (("[DEFAULT] debug is true",), ())


def test_an_option_that_somebody_unset_stays_unset_and_is_told() -> None:
    found = merged(LEFT.replace(b"debug = false\n", b""))
    assert (found.content, found.kept) == (BEFORE.replace(b"debug = false\n", b""), ("[DEFAULT] debug is not set",))


def test_a_comment_of_somebodys_stays_and_is_told() -> None:
    found = merged(b"# ours, see wiki\n" + LEFT)
    assert found.content == b"# ours, see wiki\n" + BEFORE
    assert found.kept == ("comments, blank lines or the order of options",)


def test_a_secret_that_somebody_added_stays_and_is_told_masked() -> None:
    found = merged(LEFT + b"password = canary-theirs\n")
    assert found.content is not None
    assert b"password = canary-theirs" in found.content
    assert found.kept == ("[oslo_messaging_amqp] password is ***",)


def test_a_section_that_the_run_made_stays_where_somebody_added_to_it() -> None:
    found = merged(LEFT + b"trace_frame = true\n")
    assert found.content is not None
    assert oslo_reads(found.content)["oslo_messaging_amqp", "trace_frame"] == ["true"]
    assert ("oslo_messaging_amqp", "ssl") not in oslo_reads(found.content)


def test_lines_go_back_to_their_places_when_there_are_others_around_them() -> None:
    before = b"[DEFAULT]\na = 1\nb = 2\nc = 3\n"
    found = merge_back(PATH, before, b"[DEFAULT]\na = 1\nc = 3\n", b"[DEFAULT]\na = 1\nc = 3\nd = 4\n")
    assert found.content == before + b"d = 4\n"


def test_a_value_of_several_lines_goes_back_when_its_place_is_as_the_run_left_it() -> None:
    before = b"[DEFAULT]\na = 1\n  2\nb = 1\n"
    found = merge_back(PATH, before, b"[DEFAULT]\na = 3\nb = 1\n", b"[DEFAULT]\na = 3\nb = 2\n")
    assert found.content == b"[DEFAULT]\na = 1\n  2\nb = 2\n"


def test_a_value_of_several_lines_that_cannot_go_back_by_itself_is_refused_by_name() -> None:
    before, left = b"[DEFAULT]\na = 1\n  2\n", b"[DEFAULT]\na = 3\n"
    with pytest.raises(FileRefused, match=r"\[DEFAULT\] a had a value of several lines"):
        merge_back(PATH, before, left, b"[DEFAULT]\na   =   3\n")


def test_what_is_no_configuration_any_more_is_refused_by_name() -> None:
    with pytest.raises(FileRefused, match=PATH):
        merged(b"somebody's")


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
def test_a_last_line_without_its_end_goes_back_also_when_somebody_wrote_another_below(eol: bytes) -> None:
    before, left = eol.join([b"[DEFAULT]", b"a = 1", b"  2"]), eol.join([b"[DEFAULT]", b"a = 3"])
    assert merge_back(PATH, before, left, left + eol + b"b = 1" + eol).content == before + eol + b"b = 1" + eol
    theirs = left.replace(b"[DEFAULT]", b"[DEFAULT]" + eol + b"b = 1")
    assert merge_back(PATH, before, left, theirs).content == before.replace(b"a =", b"b = 1" + eol + b"a =")


# A file that the run made.


@pytest.mark.parametrize("now", [LEFT, b"\n" + LEFT, b"[theirs]\n" + LEFT], ids=["untouched", "a blank", "a header"])
def test_a_file_that_the_run_made_goes_where_nothing_of_anybodys_is_in_it(now: bytes) -> None:
    assert merge_back(PATH, None, LEFT, now).content is None


@pytest.mark.parametrize("theirs", [b"# mine\n", b"trace_frame = true\n"], ids=["a comment", "an option"])
def test_a_file_that_the_run_made_stays_with_what_others_wrote_there(theirs: bytes) -> None:
    found = merge_back(PATH, None, LEFT, LEFT + theirs)
    assert found.content is not None
    assert theirs in found.content
    assert b"transport_url =" not in found.content


# Conflicts.


def test_another_value_of_an_option_that_the_run_set_is_a_conflict_with_all_values_masked() -> None:
    (conflict,) = merged(LEFT.replace(b"nova:canary-new@r", b"nova:canary-third@x")).conflicts
    told = "[DEFAULT] transport_url was rabbit://nova:***@h, the run left amqp://nova:***@r, is amqp://nova:***@x"
    assert str(conflict) == told
    assert "canary" not in repr(conflict)


def test_a_conflict_of_nothing_but_a_password_says_so() -> None:
    (conflict,) = merged(LEFT.replace(b"canary-new", b"canary-third")).conflicts
    assert str(conflict).endswith("is amqp://nova:***@r  (secret changed)")


def test_an_option_of_the_run_that_somebody_unset_is_a_conflict_when_it_was_set_before() -> None:
    (conflict,) = merged(LEFT.replace(b"transport_url = amqp://nova:canary-new@r\n", b"")).conflicts
    assert str(conflict).endswith("is not set")


def test_force_lets_the_value_of_before_win_and_keeps_the_other_edits() -> None:
    now = LEFT.replace(b"nova:canary-new@r", b"x").replace(b"debug = false", b"debug = true")
    found = merged(now, force=True)
    assert found.content == BEFORE.replace(b"debug = false", b"debug = true")
    assert (len(found.conflicts), found.kept) == (1, ("[DEFAULT] debug is true",))


def test_an_option_that_somebody_put_back_by_hand_is_no_conflict() -> None:
    found = merged(LEFT.replace(b"amqp://nova:canary-new@r", b"rabbit://nova:canary-old@h"))
    assert found == Merged(BEFORE)


# Generated files.


@generated
@given(files, changes, changes)
def test_options_of_the_run_go_back_and_all_others_are_as_they_are_now(
    before: bytes, ours: list[Edit], theirs: list[Edit]
) -> None:
    left = edited(before, ours)
    now = edited(left, theirs)
    try:
        found = merge_back(PATH, before, left, now, force=True)
    except FileRefused:
        assume(False)
    assert found.content is not None
    was, run, is_now, back = (oslo_reads(content) for content in (before, left, now, found.content))
    for option in {**was, **run, **is_now, **back}:
        wanted = is_now if was.get(option) == run.get(option) else was
        assert back.get(option) == wanted.get(option), option


@generated
@given(files, changes, changes)
def test_what_is_merged_is_merged_once(before: bytes, ours: list[Edit], theirs: list[Edit]) -> None:
    left = edited(before, ours)
    try:
        once = merge_back(PATH, before, left, edited(left, theirs), force=True)
    except FileRefused:
        assume(False)
    assert once.content is not None
    assert merge_back(PATH, before, left, once.content) == Merged(once.content, once.kept)


@generated
@given(files, changes, changes)
def test_edits_of_other_options_are_never_a_conflict(before: bytes, ours: list[Edit], theirs: list[Edit]) -> None:
    touched = {(group(section), key) for _, section, key, _ in ours}
    assume(touched.isdisjoint((group(section), key) for _, section, key, _ in theirs))
    left = edited(before, ours)
    try:
        assert not merge_back(PATH, before, left, edited(left, theirs)).conflicts
    except FileRefused:
        assume(False)

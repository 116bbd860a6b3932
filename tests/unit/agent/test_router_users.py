"""The router's users, with stand-ins for Cyrus SASL's two programs, and with the real ones where they are."""

from __future__ import annotations

import base64
import grp
import json
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

import pytest

from deployer.agent import router_users
from deployer.agent.errors import RefusedError, StepError
from deployer.agent.types import Step, StepOutcome
from tests.unit.agent.conftest import Programs

# As sasldblistusers2 2.1.28 prints them; it ends with 0 for a missing file, too.
LIST = """
print("".join(f"{line}: userPassword\\n" for line in open(argv[1]).read().split()), end="")
"""
SET = """
assert os.umask(0o077) == 0o077, "for a moment everybody could read it"
open(argv[3], "a").write(f"{argv[-1]}@{argv[5]}\\n")
"""


@pytest.fixture
def db(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sasldb that is not there yet, on a host whose router runs as the test's user."""
    programs.add("sasldblistusers2", LIST)
    programs.add("saslpasswd2", SET)
    own_the_router(monkeypatch)
    return tmp_path / "lib" / "qdrouterd.sasldb"


def own_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_users, "OWNER", pwd.getpwuid(os.geteuid()).pw_name)
    monkeypatch.setattr(grp, "getgrnam", lambda _name: grp.getgrgid(os.getegid()))


def carry_out(db: Path, **users: str) -> StepOutcome:
    secrets = {user: base64.b64encode(password.encode()).decode() for user, password in users.items()}
    args: dict[str, Any] = {"db": str(db), "realm": "openstack", "users_b64": secrets}
    return router_users.prepare(Step("0001", "backend:qdrouterd", "sasl.users", args)).act()


def test_users_get_their_realm_and_are_told_after(db: Path) -> None:
    outcome = carry_out(db, nova="a", glance="b")

    assert outcome.changed
    users = ["glance@openstack", "nova@openstack"]
    assert outcome.after == {"exists": True, "users": users, "made": ["nova@openstack", "glance@openstack"]}


def test_a_user_whose_password_is_set_again_was_not_made(db: Path) -> None:
    carry_out(db, nova="a")

    assert carry_out(db, nova="b", glance="b").after["made"] == ["glance@openstack"]


def test_a_password_travels_on_stdin_as_it_is(db: Path, programs: Programs) -> None:
    carry_out(db, nova='p{a"s#s')

    [call] = [call for call in programs.calls if call["name"] == "saslpasswd2"]
    assert call["stdin"] == 'p{a"s#s'
    assert call["argv"] == ["-c", "-p", "-f", str(db), "-u", "openstack", "--", "nova"]
    assert 'p{a"s#s' not in json.dumps(call["env"])


def test_nobody_but_the_router_may_read_the_file(db: Path) -> None:
    carry_out(db, nova="a")

    assert db.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_readable_is_closed(db: Path) -> None:
    db.parent.mkdir()
    db.write_text("nova@openstack\n")
    db.chmod(0o644)
    carry_out(db, glance="b")

    assert db.stat().st_mode & 0o777 == 0o600


def test_the_journal_tells_users_and_no_password(db: Path) -> None:
    carry_out(db, nova="s3cret")
    args = {"db": str(db), "realm": "openstack", "users_b64": {"nova": base64.b64encode(b"s3cret").decode()}}
    prepared = router_users.prepare(Step("0002", "backend:qdrouterd", "sasl.users", args))

    assert prepared.before == {"exists": True, "users": ["nova@openstack"]}
    assert prepared.target == str(db)
    assert prepared.blob is None


def test_a_failure_shows_user_and_file_and_no_password(db: Path, programs: Programs) -> None:
    programs.add("saslpasswd2", "sys.exit('saslpasswd2: generic failure')")

    with pytest.raises(StepError, match=f"password of nova@openstack could not be set in {db}") as caught:
        carry_out(db, nova="s3cret")
    assert "generic failure" in caught.value.more["output"]
    assert "s3cret" not in str(caught.value.frame())


def test_a_host_without_the_routers_user_is_refused(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_users, "OWNER", "nobody-here")

    with pytest.raises(RefusedError, match="no user or group nobody-here"):
        carry_out(db, nova="a")
    assert not db.exists()


def test_a_host_without_cyrus_programs_is_refused_with_the_package(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("deployer.agent.run._SYSTEM_PATH", ())

    with pytest.raises(RefusedError, match="saslpasswd2 is not installed") as caught:
        carry_out(db, nova="a")
    assert "sasl2-bin" in caught.value.remedy


def test_a_missing_file_holds_nobody(db: Path) -> None:
    assert router_users.listed(str(db)) == []


def test_the_reason_of_a_refusal_is_found_in_the_file(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert router_users.why_refused("nova@openstack", str(db)) == f"{db} is missing"
    carry_out(db, nova="a")
    assert router_users.why_refused("glance@openstack", str(db)) == f"no such user in {db}"
    assert router_users.why_refused("nova@openstack", str(db)) == "wrong password"
    owner = router_users.OWNER
    monkeypatch.setattr(router_users, "OWNER", "qdrouterd-elsewhere")
    assert f"{db} belongs to {owner}" in router_users.why_refused("nova@openstack", str(db))


@pytest.mark.skipif(not shutil.which("saslpasswd2"), reason="needs saslpasswd2 (package sasl2-bin)")
def test_the_real_programs_take_and_list_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_the_router(monkeypatch)
    db = tmp_path / "qdrouterd.sasldb"
    outcome = carry_out(db, nova='p{a"s#s', glance="b")

    assert outcome.after["users"] == ["glance@openstack", "nova@openstack"]
    assert db.stat().st_mode & 0o777 == 0o600

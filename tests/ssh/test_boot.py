"""Starting the agent: noise is skipped, and a host that cannot start it is told what it lacks."""

from __future__ import annotations

import socket
import threading
import time

import paramiko
import pytest

from deployer.errors import Unreachable
from deployer.nornir_plugins.session import AgentSession
from tests.ssh import peer
from tests.ssh.conftest import Open, Start
from tests.ssh.sshd import Sshd

RUN = 'exec sh -c "$SSH_ORIGINAL_COMMAND"'


@pytest.fixture(autouse=True)
def small_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the small agent of peer.py instead of the product's."""
    monkeypatch.setattr("deployer.nornir_plugins.session.agent_bundle", peer.bundle)


def ask(connect: Open, server: Sshd, deadline: float = 20, **extras: object) -> dict[str, object]:
    session: AgentSession = connect(server, **extras).connection
    return session.request("echo", {"hello": 1}, deadline=deadline)


def test_a_login_shell_that_greets_and_leaves_a_line_open_is_no_matter(start_with_shell: Start, connect: Open) -> None:
    noise = "echo 'Welcome to hybridmsg-agent 1'; echo 'to stderr' >&2; printf 'last login: never'"
    server = start_with_shell(f"{noise}\n{RUN}", usual=("sh", "python3"))
    assert ask(connect, server) == {"hello": 1}


def test_a_login_shell_that_never_stops_talking_is_given_up(start_with_shell: Start, connect: Open) -> None:
    with pytest.raises(Unreachable, match="prints without end"):
        ask(connect, start_with_shell("yes", usual=("sh", "yes")))


def test_a_login_shell_that_waits_is_given_up_at_the_deadline(start_with_shell: Start, connect: Open) -> None:
    server = start_with_shell("echo 'Choose 1 or 2:'; read choice")
    with pytest.raises(Unreachable, match=r"did not start within 0.5 s \(last words: Choose 1 or 2:\)"):
        ask(connect, server, deadline=0.5)


def test_a_host_without_python3_is_told_to_install_it(start_with_shell: Start, connect: Open) -> None:
    with pytest.raises(Unreachable, match=r"python3 is not installed.*Install python3"):
        ask(connect, start_with_shell(RUN))


def test_a_python3_that_is_too_old_is_named(start_with_shell: Start, connect: Open) -> None:
    # Python 3.6 is not to be had here: the real interpreter is told that it were one.
    old = 'exec /usr/bin/python3 -c "import sys; sys.version_info = (3, 6, 8); code = sys.argv[3]; exec(code)" "$@"'
    server = start_with_shell(RUN, programs={"python3": old})
    with pytest.raises(Unreachable, match=r"older than 3\.9"):
        ask(connect, server)


def test_an_account_that_may_not_log_in_gives_its_own_words(start_with_shell: Start, connect: Open) -> None:
    server = start_with_shell("echo 'This account is currently not available.'; exit 1")
    with pytest.raises(Unreachable, match=r"exit status 1: This account is currently not available"):
        ask(connect, server)


# Stand-ins: programs named sudo that say what sudo 1.9 says (its plugins/sudoers, LANG=C); the real one needs a user.
SUDO_SAYS = {
    "sudo: a password is required": "sudo asks for a password.*NOPASSWD",
    "sudo: a terminal is required to read the password; either use the -S option": "sudo asks for a password",
    "deploy is not in the sudoers file.": "sudo refuses the login user.*NOPASSWD",
    "Sorry, user deploy is not allowed to execute '/usr/bin/python3' as root on ctl1.": "sudo refuses the login user",
    "sudo: python3: command not found": "python3 is not installed",
    "sudo: ein Passwort ist notwendig": "sudo refuses .sudo: ein Passwort ist notwendig",
}


@pytest.mark.parametrize(("says", "told"), SUDO_SAYS.items(), ids=list(SUDO_SAYS))
def test_what_sudo_says_becomes_cause_and_remedy(start_with_shell: Start, connect: Open, says: str, told: str) -> None:
    fake = f"[ \"$1\" = -n ] || exit 99\ncat >&2 <<'END'\n{says}\nEND\nexit 1"
    server = start_with_shell(RUN, programs={"sudo": fake}, usual=("sh", "python3", "cat"))
    with pytest.raises(Unreachable, match=told):
        ask(connect, server, become="sudo")


def test_a_host_without_sudo_is_told_so(start_with_shell: Start, connect: Open) -> None:
    with pytest.raises(Unreachable, match="sudo is not installed"):
        ask(connect, start_with_shell(RUN, usual=("sh", "python3")), become="sudo")


def test_become_sudo_runs_the_agent_under_sudo(start_with_shell: Start, connect: Open) -> None:
    fake = '[ "$1" = -n ] || exit 99\nshift\nexec env MARK=sudo "$@"'
    server = start_with_shell(RUN, programs={"sudo": fake}, usual=("sh", "python3", "env"))
    assert ask(connect, server, become="sudo") == {"hello": 1}


def test_without_become_sudo_is_not_touched(start_with_shell: Start, connect: Open) -> None:
    server = start_with_shell(RUN, programs={"sudo": "exit 99"}, usual=("sh", "python3"))
    assert ask(connect, server) == {"hello": 1}


def test_a_word_for_become_that_means_nothing_is_refused(server: Sshd, connect: Open) -> None:
    with pytest.raises(Unreachable, match="become is 'doas'"):
        connect(server, become="doas")


class Mute(paramiko.ServerInterface):
    """A server that opens sessions and never answers what is to be run in them."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def check_auth_none(self, username: str) -> int:  # noqa: ARG002  # paramiko's signature
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002  # paramiko's signature
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002  # paramiko's
        return self.done.wait(30)


def test_a_server_that_never_answers_what_is_to_be_run_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.nornir_plugins.watchdog.GRACE", 0.1)
    ours, theirs = socket.socketpair()
    mute, serving, transport = Mute(), paramiko.Transport(theirs), paramiko.Transport(ours)
    serving.add_server_key(paramiko.ECDSAKey.generate())
    serving.start_server(event=threading.Event(), server=mute)
    transport.start_client(timeout=10)
    transport.auth_none("deploy")
    began = time.monotonic()
    try:
        with pytest.raises(Unreachable, match="no program can be started there"):
            AgentSession(transport, host="ctl1", bundle=peer.bundle()).request("echo", {}, deadline=0.3)
    finally:
        mute.done.set()
        serving.close()
    assert time.monotonic() - began < 10

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.cli.main import run
from deployer.errors import Interrupted
from deployer.model.deployment import Deployment

PROGRAM = [sys.executable, "-c", "from deployer.cli.main import main; main()"]
VERBS = ("preflight", "plan", "migrate", "verify", "status", "rollback")
ROOT = Path(__file__).parents[2]

Inventory = Callable[[str], Path]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", str(path)], check=True)
    return path


@pytest.fixture
def inventory(tmp_path: Path, key: Path) -> Inventory:
    """Write an inventory whose hosts.yaml has this text: inventory(text)."""

    def write(hosts: str) -> Path:
        directory = tmp_path / "inventory"
        directory.mkdir()
        extras = f"{{key_file: {key}, known_hosts: {tmp_path}/known_hosts, connect_timeout: 20}}"
        (directory / "hosts.yaml").write_text(hosts)
        (directory / "groups.yaml").write_text("{}\n")
        (directory / "defaults.yaml").write_text(
            f"username: deploy\nconnection_options: {{hybridmsg_ssh: {{extras: {extras}}}}}\n"
        )
        (tmp_path / "known_hosts").touch()
        return directory

    return write


WRONG = """\
ctl1: {hostname: 10.0.0.2, groups: [nova, controlers]}
ctl2: {hostname: 10.0.0.3, port: ssh, groups: [nova]}
"""


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does, from a directory that is not the clone."""
    paths = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, cwd="/", env=paths, check=False)


# Usage.


@pytest.mark.parametrize(
    "words",
    [["plan"], ["paln"], ["plan", "--no-such"], ["plan", "-i", "/nowhere"], ["plan", "-i", "/etc/passwd"], []],
    ids=["no inventory", "no such verb", "no such option", "no such directory", "a file", "nothing"],
)
def test_wrong_usage_ends_with_1_and_says_so_on_stderr_only(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HYBRIDMSG_INVENTORY", raising=False)
    assert run(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: hybridmsg" in said.err


@pytest.mark.parametrize("words", [["--help"], ["-h"], *([verb, "--help"] for verb in VERBS), ["--version"]])
def test_help_is_no_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    said = capsys.readouterr()
    assert said.out
    assert said.err == ""


def test_the_help_names_every_exit_code_and_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    shown = capsys.readouterr().out
    for code in (0, 1, 2, 3, 4, 5, 6, 130):
        assert f"\n    {code:<5}" in shown
    for verb in VERBS:
        assert f"\n  {verb} " in shown


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("preflight", ["Exits 3", "4 when that is hosts out of reach only", "Changes nothing", "--waive"]),
        ("plan", ["Exits 0", "2 when changes are pending", "Changes nothing", "--waive"]),
        (
            "migrate",
            ["--dry-run", "--diff", "--waive", "--purge-leftovers", "--remove-backends", "goes back", "Ctrl-C"],
        ),
        ("verify", ["Exits 3", "over the wire"]),
        ("status", ["Changes nothing"]),
        ("rollback", ["--force", "--purge-leftovers", "--remove-backends", "Exits 6", "byte for byte"]),
    ],
)
def test_the_help_of_a_verb_teaches_it(verb: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run([verb, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in [*words, "--inventory", "--state-dir", "--json", "--quiet"]:
        assert word in shown


def test_help_loads_neither_ssh_nor_nornir() -> None:
    code = (
        "import sys\nfrom deployer.cli.main import run\n"
        f"for verb in {VERBS!r}: run([verb, '--help'])\nrun(['--help'])\n"
        "print('LOADED', sorted({'paramiko', 'nornir', 'pydantic', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    done = program(_HYBRIDMSG_COMPLETE=f"{shell}_source")
    assert done.returncode == 0, done.stderr
    assert "_hybridmsg_completion" in done.stdout
    assert f"_HYBRIDMSG_COMPLETE={shell}_complete" in done.stdout


def test_bash_completes_verbs_with_the_script_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "hybridmsg").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PROGRAM[2]}' \"$@\"\n")
    (tmp_path / "hybridmsg").chmod(0o755)
    script = (
        'eval "$(_HYBRIDMSG_COMPLETE=bash_source hybridmsg)"; COMP_WORDS=(hybridmsg m); COMP_CWORD=1; '
        '_hybridmsg_completion hybridmsg; echo "${COMPREPLY[@]}"'
    )
    paths = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=paths, check=True)
    assert done.stdout.split() == ["migrate"]


# Bad input.


@pytest.mark.parametrize("verb", VERBS)
def test_every_mistake_of_an_inventory_is_named_on_stderr(
    verb: str, inventory: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, "-i", str(inventory(WRONG)), "--state-dir", str(tmp_path / "state")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "controlers" in said.err
    assert "hosts.yaml:2" in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_is_one_json_document_too(
    verb: str, inventory: Inventory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, "--json", "-i", str(inventory(WRONG)), "--state-dir", str(tmp_path / "state")]) == 1
    found = json.loads(capsys.readouterr().out)["error"]
    assert (found["kind"], found["exit_code"]) == ("ConfigurationError", 1)
    assert len(found["parts"]) >= 2


def test_the_inventory_may_be_named_in_the_environment(
    inventory: Inventory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRIDMSG_INVENTORY", str(inventory(WRONG)))
    assert run(["plan"]) == 1
    assert "controlers" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["migrate", "rollback"])
@pytest.mark.parametrize(
    "given", [(), ("purge_leftovers",), ("remove_backends",), ("purge_leftovers", "remove_backends")]
)
def test_what_is_destroyed_on_the_way_is_what_was_asked_for(
    verb: str, given: tuple[str, ...], inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, bool] = {}

    def carried_out(*words: object) -> None:
        asked.update(vars(words[-1]))
        raise Interrupted

    monkeypatch.setattr(f"deployer.rollout.{verb}.{verb}", carried_out)
    options = [f"--{name.replace('_', '-')}" for name in given]
    assert run(words(verb, inventory(away(1)), *options)) == 130
    assert {name for name, wanted in asked.items() if wanted} == set(given)


@pytest.mark.parametrize("verb", ["preflight", "plan", "migrate"])
def test_what_is_waived_comes_from_the_inventory_and_the_command_line(
    verb: str, inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    waived: list[tuple[str, ...]] = []

    def asked(deployment: Deployment, *_words: object, **_options: object) -> None:
        waived.append(deployment.waive)
        raise Interrupted

    for place in ("preflight.preflight", "preflight.read_plan", "migrate.migrate"):
        monkeypatch.setattr(f"deployer.rollout.{place}", asked)
    directory = inventory(away(1))
    with (directory / "defaults.yaml").open("a") as defaults:
        defaults.write("data: {hybridmsg: {waive: [cmp7]}}\n")
    assert run(words(verb, directory, "--waive", "cmp8", "--waive", "10.0.0.9")) == 130
    assert waived == [("cmp7", "cmp8", "10.0.0.9")]


# A host that does not answer: the only hosts there are without a lab.


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def away(port: int) -> str:
    return f"msg1: {{hostname: 127.0.0.1, port: {port}, groups: [rabbitmq, nova]}}\n"


def words(verb: str, directory: Path, *more: str) -> list[str]:
    return [verb, "-i", str(directory), "--state-dir", str(directory.parent / "state"), *more]


@pytest.mark.parametrize("verb", ["preflight", "plan", "migrate", "verify", "status"])
def test_an_unreachable_host_ends_with_4_and_is_named(
    verb: str, inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(verb, inventory(away(closed_port())))) == 4
    said = capsys.readouterr()
    assert "msg1: connection refused" in said.out + said.err
    assert "\x1b" not in said.out + said.err, "no terminal, no escape codes"


@pytest.mark.parametrize("verb", ["preflight", "plan", "migrate", "verify", "status"])
def test_stdout_is_one_json_document_whatever_happens(
    verb: str, inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words(verb, inventory(away(closed_port())), "--json")) == 4
    assert "connection refused" in json.dumps(json.loads(capsys.readouterr().out))


def test_quiet_tells_no_progress_but_still_the_error(inventory: Inventory, capsys: pytest.CaptureFixture[str]) -> None:
    directory = inventory(away(closed_port()))
    run(words("plan", directory))
    loud = capsys.readouterr().err.splitlines()
    run(words("plan", directory, "-q"))
    quiet = capsys.readouterr().err.splitlines()
    assert len(loud) > len(quiet) == 1
    assert quiet[0].startswith("hybridmsg: msg1: ")


def test_generated_secrets_are_named_and_never_shown(inventory: Inventory, capsys: pytest.CaptureFixture[str]) -> None:
    directory = inventory(away(closed_port()))
    run(words("plan", directory))
    said = capsys.readouterr().err
    assert "generated nova_oslomsg_rpc_password" in said
    values = [line.partition(": ")[2].strip("'\"") for line in (directory / "secrets.yaml").read_text().splitlines()]
    assert len([value for value in values if len(value) > 16]) == 2
    assert not [value for value in values if value and value in said]


def test_nothing_to_roll_back_is_said(inventory: Inventory, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words("rollback", inventory(away(closed_port())))) == 1
    assert "nothing to roll back" in capsys.readouterr().err


def test_the_program_says_the_same_as_a_process_of_its_own(inventory: Inventory) -> None:
    done = program(*words("plan", inventory(away(closed_port()))))
    assert (done.returncode, done.stdout) == (4, "")
    assert "hybridmsg: msg1: connection refused" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_no_color(no_color: str, inventory: Inventory, *, coloured: bool) -> None:
    control, terminal = pty.openpty()
    paths = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "NO_COLOR": no_color}
    command = [*PROGRAM, *words("status", inventory(away(closed_port())))]
    subprocess.run(command, stdin=terminal, stdout=terminal, stderr=terminal, env=paths, check=False)
    os.close(terminal)
    assert ("\x1b[" in drain(control)) is coloured


def drain(control: int) -> str:
    shown = b""
    try:
        while part := os.read(control, 65536):
            shown += part
    except OSError:
        # Linux tells the end of a terminal without a writer as EIO.
        os.close(control)
    return shown.decode()


@pytest.mark.parametrize(
    ("number", "as_json"), [(signal.SIGTERM, True), (signal.SIGINT, False), (signal.SIGHUP, False)]
)
def test_a_signal_ends_the_program_with_130(number: int, inventory: Inventory, *, as_json: bool) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        directory = inventory(away(silent.getsockname()[1]))
        command = [*PROGRAM, *words("plan", directory, *(["--json"] if as_json else []))]
        paths = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=paths) as running:
            connection, _ = silent.accept()
            connection.recv(1)
            running.send_signal(number)
            # The host in hand may finish, and does so by going away for good.
            silent.close()
            connection.close()
            out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    if as_json:
        assert json.loads(out)["error"]["exit_code"] == 130

"""How a unit's program really is started: its own words, its environment and its place, running or not."""

from __future__ import annotations

import pwd
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployer.agent import apache, config_files, interpreters, processes, uwsgi
from deployer.agent.errors import AgentError
from deployer.agent.probe import identity
from deployer.agent.processes import text
from deployer.agent.run import run

SHOW_ARGS_TIMEOUT = 15.0  # seconds; the script greps in files and prints a line
PROCESS, UNIT_FILE, INIT_SCRIPT, UWSGI, SEARCH = "process", "unit file", "init script", "uwsgi", "default search"
_APACHE = frozenset(("apache2", "apachectl", "apache2ctl", "httpd"))
INIT_SCRIPTS = "/etc/init.d/"
_APACHES_THREADS = 15  # of a daemon process that is told no number (modwsgi.readthedocs.io, WSGIDaemonProcess)
_SHELLS = frozenset(("sh", "bash", "dash"))
_ARGV = re.compile(r"path=(\S+) ; argv\[\]=(.*?) ; ignore_errors=", re.DOTALL)
_ENVIRONMENT_FILE = re.compile(r"(/.*) \(ignore_errors=(?:yes|no)\)")
_WORDS = re.compile(r"\$(\w+)")
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}")


@dataclass(frozen=True)
class Start:
    """A start: `words` is the program's sys.argv, `origin` where they came from, `problem` why they are not known.

    `server` is "uwsgi" or "mod_wsgi" when one of them runs the program, `virtualenv` the one it was told to use,
    `threads` how many of a process run requests there.
    """

    words: list[str] = field(default_factory=list)
    origin: str = SEARCH
    problem: str = ""
    server: str = ""
    virtualenv: str = ""
    threads: int = 1
    directory: str = "/"
    home: str = "/"
    environ: dict[str, str] = field(default_factory=dict, repr=False)


def of_unit(pid: int, properties: Mapping[str, str], project: str = "") -> Start:
    """Return the start of a unit by systemd's properties and its service process (0 while it does not run).

    Apache may run several projects: `project` is the one that is meant.
    """
    environ = {**by_systemd(properties), **processes.environ(pid)}
    user = processes.owner(pid) or properties.get("User", "")
    home = environ.get("HOME") or _home(user)
    directory = processes.directory(pid) or _working_directory(properties, home)
    words, origin, problem = _words(pid, properties, environ)
    start = Start(words, origin, problem, directory=directory, home=home, environ=environ)
    if words and uwsgi.is_uwsgi(words[0]):
        return _behind_uwsgi(start)
    if _is_apache(words):
        return _behind_apache(start, project)
    return start


def by_systemd(properties: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that systemd sets: Environment=, then the files of EnvironmentFile= over them."""
    told = dict(word.split("=", 1) for word in _split(properties.get("Environment", "")) if "=" in word)
    lines = (line.partition("=") for line in environment_lines(properties))
    return {**told, **{name.strip(): " ".join(_split(value)) for name, _, value in lines}}


def environment_lines(properties: Mapping[str, str]) -> list[str]:
    """Return the assignments of a unit's environment files as they stand there."""
    files = _ENVIRONMENT_FILE.findall(properties.get("EnvironmentFiles", ""))
    lines = [line.strip() for path in files for line in text(path).splitlines()]
    return [line for line in lines if line and line[0] not in "#;"]


def _words(pid: int, properties: Mapping[str, str], environ: Mapping[str, str]) -> tuple[list[str], str, str]:
    """Return the command line, where it came from, and why it is none."""
    running = processes.argv(pid)
    # One word with blanks in it is a title that tells no command line.
    if running and " " not in running[0].strip() and Path(running[0]).name not in _SHELLS:
        return running, PROCESS, ""
    started = _ARGV.search(properties.get("ExecStart", ""))
    if not started:
        return [], SEARCH, "" if not running else "its process tells no command line, and systemd has none for it"
    if started.group(1).startswith(INIT_SCRIPTS):
        return _shown(started.group(1), properties.get("User", ""), environ)
    words = _expanded(started.group(2), environ)
    if _is_apache(words) or config_files.chosen(words) or not _is_script(started.group(1)):
        return words, UNIT_FILE, ""
    return [], SEARCH, f"{started.group(1)} is a shell script: what it starts can be told while it runs only"


def _shown(script: str, user: str, environ: Mapping[str, str]) -> tuple[list[str], str, str]:
    """Ask an init script of Debian's openstack-pkg-tools for its command line: the last line of its `show-args`.

    As the unit's own user, like the start itself: as root it would make directories.
    """
    if "show-args" not in text(script):
        return [], SEARCH, f"{script} is not of openstack-pkg-tools: what it starts can be told while it runs only"
    try:
        done = run([script, "show-args"], SHOW_ARGS_TIMEOUT, env=environ, **identity(user))
    except AgentError as error:
        return [], SEARCH, error.problem
    words = _split((done.stdout.strip().splitlines() or [""])[-1])
    if done.ok and words and words[0].startswith("/"):
        return words, INIT_SCRIPT, ""
    return [], SEARCH, f"{script} show-args tells no command line"


def _expanded(line: str, environ: Mapping[str, str]) -> list[str]:
    """Return the words of systemd's argv[], which has neither quotes nor variables' values (systemd.service(5))."""

    def value(match: re.Match[str]) -> str:
        return environ.get(match.group(1), "") if match.group(1) else "$"

    found: list[str] = []
    for word in _split(line):
        several = _WORDS.fullmatch(word)
        found += environ.get(several.group(1), "").split() if several else [_VARIABLE.sub(value, word)]
    return found


def _is_apache(words: Sequence[str]) -> bool:
    return bool(words) and Path(words[0]).name in _APACHE


def _is_script(program: str) -> bool:
    return Path(interpreters.shebang(program) or program).name in _SHELLS


def _behind_uwsgi(start: Start) -> Start:
    told = uwsgi.options(start.words, start.directory, start.environ)
    return replace(
        start,
        words=told.words,
        origin=UWSGI,
        problem=start.problem or told.problem,
        server="uwsgi",
        virtualenv=told.virtualenv,
        threads=told.threads,
        directory=str(Path(start.directory, told.directory)),
        environ={**start.environ, **told.environ},
    )


def _behind_apache(start: Start, project: str) -> Start:
    """Apache's own words are not the program's: mod_wsgi gives it none, and its user's home."""
    told = apache.daemon_options(project) if project else {}
    home = _home(told["user"]) if "user" in told else start.home
    virtualenv = told.get("python-home", "")
    threads = int(told.get("threads", str(_APACHES_THREADS))) if told else 1
    return replace(start, words=[], origin=SEARCH, server="mod_wsgi", virtualenv=virtualenv, threads=threads, home=home)


def _split(text_of: str) -> list[str]:
    """Split as a shell does; at blanks alone where quotes do not match."""
    try:
        return shlex.split(text_of)
    except ValueError:
        return text_of.split()


def _home(user: str) -> str:
    try:
        return pwd.getpwnam(user or "root").pw_dir
    except KeyError:
        return "/"


def _working_directory(properties: Mapping[str, str], home: str) -> str:
    told = properties.get("WorkingDirectory", "").lstrip("!-")
    return home if told == "~" else told or "/"

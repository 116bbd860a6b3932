"""Where secrets come from besides their file: the environment and a command; and what opens an encrypted file.

HYBRIDMSG_SECRET_<KEY> is one secret (the key of the secrets file, in capitals), HYBRIDMSG_VAULT_PASSWORD opens
what ansible-vault encrypted. Nothing that a source holds or prints gets into an error.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from deployer.errors import ConfigurationError, Mistake
from deployer.model.inventory_schema import SecretSettings
from deployer.model.masking import MASK, mask
from deployer.model.secrets import Blob, Secret
from deployer.model.yaml_source import YamlFile, parse_yaml

PREFIX = "HYBRIDMSG_SECRET_"
VAULT_PASSWORD = "HYBRIDMSG_VAULT_PASSWORD"  # noqa: S105 - the name of a variable
DEADLINE = 60.0
"""Seconds for the command, or the vault password script, to end."""
_TAIL = 1000
_SHORTEST_MASKED = 4


@dataclass(frozen=True)
class SecretSources:
    """What goes before the secrets file, most important first, and the password that opens that file."""

    before_the_file: tuple[YamlFile, ...] = ()
    vault: VaultPassword = field(default_factory=lambda: VaultPassword(None, ""))

    @classmethod
    def of(cls, settings: SecretSettings, directory: Path, environ: Mapping[str, str]) -> SecretSources:
        """Ask the environment and the command, which runs in the inventory's `directory`; the files name mistakes."""
        sources = [environment_secrets(environ)]
        if settings.command:
            sources.append(command_secrets(settings.command, directory))
        path = settings.vault_password_file
        file = directory / Path(path).expanduser() if path else None
        return cls(tuple(sources), VaultPassword(file, environ.get(VAULT_PASSWORD, "")))


def environment_secrets(environ: Mapping[str, str]) -> YamlFile:
    """Return the secrets among the environment's variables, by their key in the secrets file."""
    named = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    return YamlFile(f"environment, {PREFIX}*", named, confidential=True)


def command_secrets(argv: list[str], directory: Path) -> YamlFile:
    """Return the secrets that a command prints as YAML; without a shell, and with no input to wait for."""
    name = f"hybridmsg.secrets.command, {argv[0]}"
    printed = _output(argv, directory)
    if isinstance(printed, str):
        return YamlFile(name, mistakes=[Mistake(name, "", printed)], confidential=True)
    return parse_yaml(printed.reveal(), name, confidential=True)


class VaultPassword:
    """The password of ansible-vault, looked for when first needed; `origin` says where."""

    def __init__(self, file: Path | None, given: str) -> None:
        self._file, self._given = file, given
        self.origin = VAULT_PASSWORD if given else str(file or "")

    @cached_property
    def secret(self) -> Secret:
        """Return the password; raises ConfigurationError naming the file or script that does not give it."""
        found: Secret | str = Secret(self._given) if self._given else self._of_file()
        if isinstance(found, str):
            raise ConfigurationError([Mistake(self.origin, "", found)])
        return found

    def __bool__(self) -> bool:
        return bool(self.origin)

    def _of_file(self) -> Secret | str:
        if not self._file:
            raise LookupError("no vault password is configured")
        try:
            script = stat.S_IMODE(self._file.stat().st_mode) & 0o111
            problem = _guard_script(self._file) if script else guard(self._file)
            content = problem or (_output([str(self._file.absolute())], self._file.parent) if script else self._read())
        except OSError as error:
            return f"cannot be read: {error.strerror}. Change vault_password_file, or set {VAULT_PASSWORD}"
        if isinstance(content, str):
            return content
        try:
            # As ansible does it: a file's blanks at either end are not the password's, a script's are.
            text = content.reveal().strip(b"\r\n" if script else None).decode()
        except UnicodeDecodeError:
            text = ""
        return Secret(text) if text else "gives no password: it is empty, or not UTF-8"

    def _read(self) -> Blob:
        return Blob(self._file.read_bytes() if self._file else b"")


def guard(path: Path) -> str:
    """Return why this file must not be trusted with secrets, or ''; raises OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    me = os.geteuid()
    if status.st_uid != me:
        return f"belongs to user id {status.st_uid}, not to you ({me}). Run: chown {me} {path}"
    if stat.S_IMODE(status.st_mode) & 0o177:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}: others may read it. Run: chmod 600 {path}"
    return ""


def _guard_script(path: Path) -> str:
    """Return why this program must not be run for a password, or ''; others may read it, for it holds none."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user id {status.st_uid}, who could change what it does. Run: chown {os.geteuid()} {path}"
    if stat.S_IMODE(status.st_mode) & 0o022:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}: others may change it. Run: chmod go-w {path}"
    return ""


def _output(argv: list[str], directory: Path) -> Blob | str:
    """Return what a program prints, or what went wrong; whatever it started ends with it at the deadline."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    with process:
        try:
            printed, told = process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            return f"did not end within {DEADLINE:g} s"
        finally:
            _kill(process)
    if process.returncode:
        words = _masked(told, printed)
        return f"ended with exit code {process.returncode}{words and f': {words}'}"
    return Blob(printed)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


def _masked(told: bytes, printed: bytes) -> str:
    """Return the end of a program's stderr without what looks like a secret, or what stood on its stdout too."""
    text = mask(told.decode(errors="replace"))
    for word in sorted(_words(printed), key=len, reverse=True):
        text = text.replace(word, MASK)
    return text.strip()[-_TAIL:]


def _words(printed: bytes) -> Iterable[str]:
    """Return each line's value and each word of what should have been YAML."""
    for line in printed.decode(errors="replace").splitlines():
        value = line.partition(":")[2].strip().strip("\"'")
        yield from {word for word in (value, *re.split(r"[\s\"']+", value)) if len(word) >= _SHORTEST_MASKED}

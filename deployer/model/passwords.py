"""The secrets file: passwords named as in openstack-ansible's user_secrets.yml, missing ones generated."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import string
import tempfile
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from deployer.errors import ConfigurationError, Mistake
from deployer.model.secrets import Secret
from deployer.model.yaml_source import YamlFile, read_yaml

ERLANG_COOKIE = "rabbitmq_cookie_token"
ROUTER_PASSWORD = "qdrouterd_password"  # noqa: S105 - the name of a key
MINIMUM_LENGTH = 8
ROUTER_PASSWORD_LENGTH = 199
"""Bytes that qdrouterd reads of a password file (qpid-dispatch, src/connection_manager.c)."""
_ALPHABET = string.ascii_letters + string.digits
# Never a misspelling: openstack-ansible's roles keep a password for each of these under the same pattern.
_OTHERS = (
    "adjutant|aodh|barbican|blazar|ceilometer|cinder|cloudkitty|designate|glance|gnocchi|heat|horizon|ironic|"
    "ironic_inspector|keystone|magnum|manila|masakari|mistral|murano|neutron|nova|octavia|placement|sahara|"
    "senlin|swift|tacker|trove|trove_guest|zaqar|zun"
)
_KNOWN_ELSEWHERE = re.compile(rf"({_OTHERS})_oslomsg_(rpc|notify)_password")


def password_key(project: str) -> str:
    """Return the key of a project's messaging password (openstack-ansible's name for it)."""
    return f"{project}_oslomsg_rpc_password"


def load_or_generate(
    path: Path, wanted: list[str], optional: Collection[str] = ()
) -> tuple[dict[str, Secret], list[str]]:
    """Return the wanted secrets and the names of those just generated and appended to the file.

    `optional` ones are returned too where the file has them.
    The file is created 0600 when absent, and refused when others can read it or own it. Existing bytes
    are kept as they are. Raises ConfigurationError with every mistake, before anything is written.
    """
    path = path.resolve()
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        problem = f"the directory of the secrets file: {error.strerror}. Create it, or change secrets_file"
        raise ConfigurationError([Mistake(str(path.parent), "", problem)]) from None
    try:
        # Two runs at once must not both generate: the second waits here and finds the first one's passwords.
        fcntl.flock(directory, fcntl.LOCK_EX)
        return _load_or_generate(path, wanted, optional, directory)
    finally:
        os.close(directory)


def _load_or_generate(
    path: Path, wanted: list[str], optional: Collection[str], directory: int
) -> tuple[dict[str, Secret], list[str]]:
    file = _read(path, wanted, optional)
    if file.mistakes:
        raise ConfigurationError(file.mistakes)
    missing = [key for key in wanted if key not in file.data]
    values = {key: _generate() for key in missing}
    if missing:
        try:
            _append(path, file.data, values, directory)
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
            raise ConfigurationError([Mistake(str(path), "", problem)]) from None
    present = {**file.data, **values}
    return {key: Secret(present[key]) for key in (*wanted, *optional) if key in present}, missing


def _read(path: Path, wanted: Collection[str], optional: Collection[str]) -> YamlFile:
    if not path.exists():
        return YamlFile(str(path))
    if problem := _guard(path):
        return YamlFile(str(path), mistakes=[Mistake(str(path), "", problem)])
    file = read_yaml(path, confidential=True)
    for key in sorted({*wanted, *optional} & set(file.data)):
        if problem := _weakness(key, file.data[key]):
            file.refuse((key,), problem)
    absent = set(wanted) - set(file.data)
    for key in file.data:
        near = get_close_matches(key, absent, n=1, cutoff=0.85)
        if near and key not in wanted and not _KNOWN_ELSEWHERE.fullmatch(key):
            file.refuse((key,), f'unknown key. Did you mean "{near[0]}"?')
    return file


def _guard(path: Path) -> str:
    """Return why this file must not be trusted with secrets, or ''."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    me = os.geteuid()
    if status.st_uid != me:
        return f"belongs to user id {status.st_uid}, not to you ({me}). Run: chown {me} {path}"
    if stat.S_IMODE(status.st_mode) & 0o177:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}: others may read it. Run: chmod 600 {path}"
    with path.open("rb") as handle:
        if handle.read(14) == b"$ANSIBLE_VAULT":
            return "is encrypted with ansible-vault. Decrypt it to a 0600 file and name that in secrets_file"
    return ""


def _weakness(key: str, value: object) -> str:
    if value is None or value == "":
        return "is empty. Give it a value, or delete the line and one is generated"
    if not isinstance(value, str):
        return "is not text. Put it in quotes"
    if len(value) < MINIMUM_LENGTH:
        return f"is shorter than {MINIMUM_LENGTH} characters. Take a longer one"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value):
        return "has control characters (a line break, a tab). Take a value on one line"
    return _unfit(key, value)


def _unfit(key: str, value: str) -> str:
    """Return why the program that reads this one secret could not, or ''."""
    if key == ERLANG_COOKIE and not re.fullmatch(r"[!-~]{1,255}", value):
        return "an Erlang cookie is up to 255 ASCII characters with no space"
    if key == ROUTER_PASSWORD and len(value.encode()) > ROUTER_PASSWORD_LENGTH:
        return f"is longer than {ROUTER_PASSWORD_LENGTH} bytes: qdrouterd reads no more of it. Take a shorter one"
    return ""


def _generate() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(32))


def _append(path: Path, present: dict[str, object], values: dict[str, str], directory: int) -> None:
    """Replace the file by itself plus `values`, atomically; refuse what would not read back."""
    before = path.read_bytes() if path.exists() else b""
    newline = b"\r\n" if b"\r\n" in before else b"\n"
    if before and not before.endswith(b"\n"):
        before += newline
    content = before + b"".join(f"{key}: {value}".encode() + newline for key, value in values.items())
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:  # mkstemp made it 0600
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        written = read_yaml(Path(temporary), confidential=True)
        if written.mistakes or written.data != {**present, **values}:
            problem = f"nothing can be appended to it. Add by hand: {', '.join(values)}"
            raise ConfigurationError([Mistake(str(path), "", problem)])
        Path(temporary).replace(path)
        os.fsync(directory)
    finally:
        Path(temporary).unlink(missing_ok=True)

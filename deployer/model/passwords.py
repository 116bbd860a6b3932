"""Passwords by the names of openstack-ansible's user_secrets.yml, wherever they are kept; missing ones generated."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import string
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from deployer.errors import ConfigurationError, Mistake
from deployer.model.secret_sources import SecretSources
from deployer.model.secrets import Secret
from deployer.model.secrets_file import SecretsFile
from deployer.model.yaml_source import YamlFile

ERLANG_COOKIE = "rabbitmq_cookie_token"
ROUTER_PASSWORD = "qdrouterd_password"  # noqa: S105 - the name of a key
MINIMUM_LENGTH = 8
LOCK_DEADLINE = 60.0
"""Seconds to wait for another run that reads its secrets: it may ask a program for them, which has a deadline too."""
ROUTER_PASSWORD_LENGTH = 199
"""Bytes that qdrouterd reads of a password file (qpid-dispatch, src/connection_manager.c)."""
_TEMPLATE = re.compile(r"\{\{.+\}\}")
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


@dataclass(frozen=True)
class Passwords:
    """Secrets by key, the keys of those just generated, and what each came from, as people call it."""

    values: dict[str, Secret]
    generated: tuple[str, ...]
    origins: dict[str, str]


def load_or_generate(
    path: Path, wanted: Collection[str], optional: Collection[str] = (), sources: SecretSources | None = None
) -> Passwords:
    """Return the wanted secrets, after generating those that no source has and appending them to the file.

    `optional` ones are returned too where a source has them. `sources` go before the file and open it.
    The file is created 0600 when absent, and refused when others can read it or own it. Existing bytes
    are kept as they are. Raises ConfigurationError with every mistake, before anything is written.
    """
    path, sources = path.resolve(), sources or SecretSources()
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        problem = f"the directory of the secrets file: {error.strerror}. Create it, or change secrets_file"
        raise ConfigurationError([Mistake(str(path.parent), "", problem)]) from None
    try:
        # Two runs at once must not both generate: the second waits here and finds the first one's passwords.
        _lock(directory, path.parent)
        return _load_or_generate(path, wanted, optional, sources, directory)
    finally:
        os.close(directory)


def _lock(directory: int, name: Path) -> None:
    retrying = Retrying(
        retry=retry_if_exception_type(BlockingIOError),
        stop=stop_after_delay(LOCK_DEADLINE),
        wait=wait_fixed(0.05),
        reraise=True,
    )
    try:
        retrying(fcntl.flock, directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        problem = f"another run has been reading its secrets there for {LOCK_DEADLINE:g} s. Wait for it, or end it"
        raise ConfigurationError([Mistake(str(name), "", problem)]) from None


def _load_or_generate(
    path: Path, wanted: Collection[str], optional: Collection[str], sources: SecretSources, directory: int
) -> Passwords:
    keys = list(dict.fromkeys((*wanted, *optional)))
    elsewhere = {key: source.name for source in reversed(sources.before_the_file) for key in source.data}
    file = SecretsFile.read(path, sources.vault, [key for key in keys if key not in elsewhere])
    given = [*sources.before_the_file, file.yaml]
    found = {key: source for source in reversed(given) for key in keys if key in source.data}
    missing = [key for key in wanted if key not in found]
    for source in given:
        _check_values(source, [key for key in keys if found.get(key) is source and key not in file.closed])
        _check_names(source, keys, missing)
    if mistakes := [mistake for source in given for mistake in source.mistakes]:
        raise ConfigurationError(mistakes)
    generated = {key: Secret(_generate()) for key in missing}
    if generated:
        try:
            file.append(generated, directory)
        except OSError as error:
            problem = f"cannot be written: {error.strerror}"
            raise ConfigurationError([Mistake(str(path), "", problem)]) from None
    origins = {key: elsewhere.get(key, str(path)) for key in keys if key in found or key in generated}
    values = {key: generated[key] if key in generated else Secret(found[key].data[key]) for key in origins}
    return Passwords(values, tuple(generated), origins)


def _check_values(source: YamlFile, used: Collection[str]) -> None:
    for key in used:
        if problem := _weakness(key, source.data[key]):
            source.refuse((key,), problem)


def _check_names(source: YamlFile, known: Collection[str], missing: Collection[str]) -> None:
    for key in source.data:
        near = get_close_matches(key, missing, n=1, cutoff=0.85)
        if near and key not in known and not _KNOWN_ELSEWHERE.fullmatch(key):
            source.refuse((key,), f'unknown key. Did you mean "{near[0]}"?')


def _weakness(key: str, value: object) -> str:
    if value is None or value == "":
        return "is empty. Give it a value, or take it out and one is generated"
    if not isinstance(value, str):
        return "is not text. Put it in quotes"
    if len(value) < MINIMUM_LENGTH:
        return f"is shorter than {MINIMUM_LENGTH} characters. Take a longer one"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value):
        return "has control characters (a line break, a tab). Take a value on one line"
    if _TEMPLATE.search(value):
        return "is a template of Ansible's, which is not evaluated here. Write the value itself"
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

"""The secrets file on the operator's disk: plain, encrypted by ansible-vault as a whole, or value by value."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from deployer.errors import ConfigurationError, Mistake
from deployer.model.secret_sources import VAULT_PASSWORD, VaultPassword, guard
from deployer.model.secrets import Blob, Secret
from deployer.model.vault import MARK, Envelope
from deployer.model.yaml_source import Vaulted, YamlFile, parse_yaml

_INDENT = " " * 10  # as `ansible-vault encrypt_string` prints a value


class SecretsFile:
    """One file as it was read: `yaml` has its values, those that were asked for opened, and its mistakes.

    `closed` are the keys whose values could not be opened, which a mistake names already.
    """

    def __init__(self, path: Path, vault: VaultPassword) -> None:
        self.path = path
        self.yaml = YamlFile(str(path), confidential=True)
        self.closed: set[str] = set()
        self._vault = vault
        self._content = Blob(b"")
        self._whole: Envelope | None = None
        self._as_written: dict[str, Any] = {}

    @classmethod
    def read(cls, path: Path, vault: VaultPassword, keys: Collection[str]) -> SecretsFile:
        """Read the file, which may be absent, and open the values of `keys`.

        Raises ConfigurationError when it is encrypted and the vault password is not to be had.
        """
        file = cls(path, vault)
        try:
            if problem := guard(path):
                file._refuse(problem)
                return file
            file._content = Blob(path.read_bytes())
        except FileNotFoundError:
            return file
        except OSError as error:
            file._refuse(f"cannot be read: {error.strerror}")
            return file
        file._open_whole()
        file._as_written = dict(file.yaml.data)
        file._open_values([key for key in keys if isinstance(file.yaml.data.get(key), Vaulted)])
        return file

    def append(self, values: Mapping[str, Secret], directory: int) -> None:
        """Replace the file by itself plus `values`, atomically, 0600, encrypted where the rest of it is.

        `directory` is the descriptor of its directory. Raises OSError, and ConfigurationError for what would not
        read back.
        """
        before = self._content.reveal()
        newline = "\r\n" if b"\r\n" in before else "\n"
        if before and not before.endswith(b"\n"):
            before += newline.encode()
        written = self._written(values)
        content = before + "".join(_entry(key, value, newline) for key, value in written.items()).encode()
        after = parse_yaml(content, str(self.path), confidential=True)
        if after.mistakes or after.data != {**self._as_written, **written}:
            raise self._failure(f"nothing can be appended to it. Add by hand: {', '.join(values)}")
        if self._whole:
            sealed = Envelope.seal(Blob(content), self._vault.secret, self._whole.label)
            content = sealed.text().encode()
        _replace(self.path, content, directory)

    def _open_whole(self) -> None:
        name = str(self.path)
        if self._content.reveal().startswith(MARK.encode()):
            try:
                self._whole = Envelope.parse(self._content.reveal().decode(errors="replace"))
            except ValueError as error:
                return self._refuse(str(error))
            content = self._opened(self._whole)
            if content is None:
                return self._refuse(self._locked())
            self._content, name = content, f"{name} (decrypted)"
        self.yaml = parse_yaml(self._content.reveal(), name, confidential=True)
        return None

    def _open_values(self, keys: list[str]) -> None:
        locked = []
        for key in keys:
            content, problem = self._value(key)
            if content is not None:
                self.yaml.data[key] = content
                continue
            self.closed.add(key)
            if problem:
                self.yaml.refuse((key,), problem)
            else:
                locked.append(key)
        if locked:
            self.yaml.refuse((), self._locked(", ".join(locked)), self.yaml.line((locked[0],)))

    def _value(self, key: str) -> tuple[str | None, str]:
        """Return the opened value, or None and what is wrong with it; '' when it is the password that is."""
        try:
            content = self._opened(Envelope.parse(self.yaml.data[key].envelope))
            return (None if content is None else content.reveal().decode()), ""
        except UnicodeDecodeError:
            return None, "is not UTF-8. Encrypt it anew"
        except ValueError as error:
            return None, str(error)

    def _opened(self, envelope: Envelope) -> Blob | None:
        return envelope.open(self._vault.secret) if self._vault else None

    def _locked(self, keys: str = "") -> str:
        if not self._vault:
            remedy = f"Name what opens it: hybridmsg.secrets.vault_password_file in defaults.yaml, or {VAULT_PASSWORD}"
            return f"is encrypted with ansible-vault{f' ({keys})' if keys else ''}. {remedy}"
        problem = f"the vault password of {self._vault.origin} does not open {keys or 'it'}"
        return f"{problem}. Give the one it was encrypted with"

    def _written(self, values: Mapping[str, Secret]) -> dict[str, str | Vaulted]:
        """Return the values as they will stand in the file: encrypted where others of it are."""
        encrypted = {} if self._whole else {key: v for key, v in self._as_written.items() if isinstance(v, Vaulted)}
        if not encrypted:
            return {key: value.reveal() for key, value in values.items()}
        label = self._label(encrypted)
        contents = {key: Blob(value.reveal().encode()) for key, value in values.items()}
        return {
            key: Vaulted(Envelope.seal(content, self._vault.secret, label).text()) for key, content in contents.items()
        }

    def _label(self, encrypted: Mapping[str, Vaulted]) -> str:
        """Return the vault id of the last value that the password opens: a file may hold values of several."""
        for value in reversed(list(encrypted.values())):
            envelope = Envelope.parse(value.envelope)
            if self._opened(envelope) is not None:
                return envelope.label
        raise self._failure(self._locked(", ".join(encrypted)))

    def _refuse(self, problem: str) -> None:
        self.yaml.refuse((), problem)

    def _failure(self, problem: str) -> ConfigurationError:
        return ConfigurationError([Mistake(str(self.path), "", problem)])


def _entry(key: str, value: str | Vaulted, newline: str) -> str:
    if isinstance(value, str):
        return f"{key}: {value}{newline}"
    lines = [f"{key}: !vault |", *(f"{_INDENT}{line}" for line in value.envelope.splitlines())]
    return "".join(f"{line}{newline}" for line in lines)


def _replace(path: Path, content: bytes, directory: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:  # mkstemp made it 0600
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        Path(temporary).replace(path)
        os.fsync(directory)
    finally:
        Path(temporary).unlink(missing_ok=True)

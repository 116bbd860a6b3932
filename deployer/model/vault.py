"""ansible-vault's envelopes: formats 1.1 and 1.2 (with a vault id's label), cipher AES256.

The format is docs.ansible.com's "Format of files encrypted with Ansible Vault". The packages that read it are under
the GPL (ansible-core, and ansible-vault on top of it), so it is written here on `cryptography`; the tests hold it
against what ansible-core wrote.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.padding import PKCS7

from deployer.model.secrets import Blob, Secret

MARK = "$ANSIBLE_VAULT"
"""What an encrypted file or value begins with."""
_ITERATIONS = 10_000
_SALT_LENGTH = _KEY_LENGTH = 32
_COLUMNS = 80
_BITS = AES.block_size
_HEX = "(?:[0-9A-Fa-f]{2})"
_FIELDS = re.compile(rf"({_HEX}+)\n({_HEX}{{32}})\n((?:{_HEX}{{16}})+)".encode())


@dataclass(frozen=True)
class Envelope:
    """An encrypted text; `label` is its vault id ("" in format 1.1)."""

    label: str
    salt: bytes
    digest: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, text: str) -> Envelope:
        """Read a whole file or one `!vault` value; raises ValueError, which quotes nothing of it."""
        header, *lines = text.split("\n")
        mark, version, cipher, label = (*header.strip().split(";", 3), "", "", "", "")[:4]
        if mark != MARK:
            raise ValueError("is not what ansible-vault writes. Restore it from a copy")
        if version not in ("1.1", "1.2") or cipher != "AES256":
            raise ValueError("is encrypted in a format other than 1.1 and 1.2 with AES256. Run: ansible-vault rekey")
        try:
            fields = _FIELDS.fullmatch(bytes.fromhex("".join(line.strip() for line in lines)))
        except ValueError:
            fields = None
        if not fields:
            raise ValueError("is cut off or was changed after its encryption. Restore it from a copy")
        salt, digest, ciphertext = (bytes.fromhex(field.decode()) for field in fields.groups())
        return cls(label, salt, digest, ciphertext)

    @classmethod
    def seal(cls, content: Blob, password: Secret, label: str = "") -> Envelope:
        """Return the content encrypted under a new salt."""
        salt = os.urandom(_SALT_LENGTH)
        key, authentic, counter = _keys(password, salt)
        padder = PKCS7(_BITS).padder()
        encryptor = Cipher(AES(key), CTR(counter)).encryptor()
        ciphertext = encryptor.update(padder.update(content.reveal()) + padder.finalize()) + encryptor.finalize()
        return cls(label, salt, hmac.digest(authentic, ciphertext, "sha256"), ciphertext)

    def open(self, password: Secret) -> Blob | None:
        """Return the content, None when this is not the password that it was encrypted with."""
        key, authentic, counter = _keys(password, self.salt)
        if not hmac.compare_digest(self.digest, hmac.digest(authentic, self.ciphertext, "sha256")):
            return None
        decryptor = Cipher(AES(key), CTR(counter)).decryptor()
        unpadder = PKCS7(_BITS).unpadder()
        padded = decryptor.update(self.ciphertext) + decryptor.finalize()
        return Blob(unpadder.update(padded) + unpadder.finalize())

    def text(self) -> str:
        """Return the envelope as ansible-vault writes it, with a final newline."""
        header = f"{MARK};1.2;AES256;{self.label}" if self.label else f"{MARK};1.1;AES256"
        fields = "\n".join(field.hex() for field in (self.salt, self.digest, self.ciphertext))
        body = fields.encode().hex()
        lines = [header, *(body[start : start + _COLUMNS] for start in range(0, len(body), _COLUMNS))]
        return "".join(f"{line}\n" for line in lines)


def _keys(password: Secret, salt: bytes) -> tuple[bytes, bytes, bytes]:
    derived = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt, _ITERATIONS, 2 * _KEY_LENGTH + _BITS // 8)
    return derived[:_KEY_LENGTH], derived[_KEY_LENGTH : 2 * _KEY_LENGTH], derived[2 * _KEY_LENGTH :]

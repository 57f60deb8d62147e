"""A text that only a password opens: how a solution travels in the file that students get."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any

from tinygrad_ce.data.checks import extra

SALT = 16  # bytes, before the sealed text: the same password gives another key in every file


def seal(text: str, password: str) -> str:
    """The text, encrypted. ValueError for an empty password.

    >>> unseal(seal("d_w = x", "swordfish"), "swordfish")
    'd_w = x'
    """
    if not isinstance(password, str) or not password:
        raise ValueError('the solution cannot be locked by an empty password: write password="..."')
    salt = secrets.token_bytes(SALT)
    token: bytes = _cipher(password, salt).encrypt(text.encode())
    return (base64.urlsafe_b64encode(salt + base64.urlsafe_b64decode(token))).decode()


def unseal(sealed: str, password: str) -> str:
    """The text that was sealed with this password. ValueError for another one."""
    wrong = "the solution stays locked: this is not its password"
    if not isinstance(password, str) or not password:
        raise ValueError(wrong)
    try:
        content = base64.urlsafe_b64decode("".join(sealed.split()))
        token = base64.urlsafe_b64encode(content[SALT:])
        text: bytes = _cipher(password, content[:SALT]).decrypt(token)
    except (extra("cryptography.fernet", "classroom").InvalidToken, ValueError):
        raise ValueError(wrong) from None
    return text.decode()


def _cipher(password: str, salt: bytes) -> Any:
    """Fernet, with a key that takes a computer long enough to compute that passwords are not tried by the million."""
    key = hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
    return extra("cryptography.fernet", "classroom").Fernet(base64.urlsafe_b64encode(key))

"""Names that become file names: nothing in them leads out of their folder."""

from __future__ import annotations

import re

from skep.errors import InputError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def checked_name(field: str, name: str) -> str:
    """``name`` if it may be a file's name. Raises ``InputError``."""
    if not _SAFE.match(name):
        raise InputError(field, name, "allowed: 1 to 128 letters, digits, and . _ - inside")
    return name


def checked_digest(digest: str) -> str:
    """``digest`` if it is one of SHA-256. Raises ``InputError``."""
    if not _DIGEST.match(digest):
        raise InputError("bundle", digest, "allowed: a SHA-256 digest, 64 hexadecimal digits")
    return digest

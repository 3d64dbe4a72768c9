"""Every error that skep raises on purpose, in one tree.

::

    SkepError                 exit code 1   anything that skep itself refuses or fails at
    ├── InputError            exit code 2   what the user gave is wrong: field, value, what fits
    ├── UnreachableError      exit code 3   no control plane answers
    ├── NotFoundError         exit code 4   no such job, run or site
    ├── DeniedError           exit code 5   the token or the policy does not allow it
    ├── ConflictError         exit code 6   the world has moved, or the state does not allow it
    └── StoreError            exit code 7   the state folder cannot be read or written

A message is one line that a user can act on. Programming errors are not in this tree.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SkepError(Exception):
    """Base of all; ``exit_code`` is what the command returns, ``code`` what the API answers."""

    exit_code = 1
    code = "error"
    http_status = 500


class InputError(SkepError):
    """What the user gave is wrong. Says the field, the value and what is allowed, in one line."""

    exit_code = 2
    code = "bad_input"
    http_status = 422

    def __init__(self, field: str, value: object, allowed: str, *, source: str = "") -> None:
        self.field, self.value, self.allowed, self.source = field, value, allowed, source
        where = f"{source}: " if source else ""
        super().__init__(f"{where}{field}: got {shown(value)}; {allowed}")


class UnreachableError(SkepError):
    """No control plane answers at the address."""

    exit_code = 3
    code = "unreachable"
    http_status = 503


class NotFoundError(SkepError):
    """There is no job, run or site of that name."""

    exit_code = 4
    code = "not_found"
    http_status = 404


class DeniedError(SkepError):
    """The token, or the policy, does not allow this."""

    exit_code = 5
    code = "denied"
    http_status = 403


class ConflictError(SkepError):
    """The world has moved since the decision, or the state does not allow it."""

    exit_code = 6
    code = "conflict"
    http_status = 409


class StoreError(SkepError):
    """The state cannot be read or written (a full disk, a read-only folder). Nothing was lost."""

    exit_code = 7
    code = "store"
    http_status = 507


def shown(value: object, limit: int = 80) -> str:
    """``value`` for one line of an error: repr, control characters escaped, cut at ``limit``."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the nearest known word, or ``""`` if none is near."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {match[0]!r}?)" if match else ""

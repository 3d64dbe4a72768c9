"""Who asks: a token stands for the operator, for one site, or for one user."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from skep.errors import DeniedError


@dataclass(frozen=True, slots=True)
class Principal:
    """Exactly one of the three. An operator may do everything."""

    operator: bool = False
    site: str = ""
    user: str = ""

    def need_site(self, site: str) -> None:
        """Raises ``DeniedError`` unless the token is that site's own."""
        if self.site != site:
            raise DeniedError(f"this token cannot act for site {site!r}")

    def need_person(self) -> None:
        """Raises ``DeniedError`` for the token of a site."""
        if self.site:
            raise DeniedError(f"the token of site {self.site!r} can act for that site alone")

    def need_owner(self, user: str) -> None:
        """Raises ``DeniedError`` unless the token is the operator's or ``user``'s."""
        self.need_person()
        if not self.operator and self.user != user:
            raise DeniedError(
                f"the job belongs to {user or 'the operator'!r}, not to {self.user!r}"
            )


def principal_of(name: str) -> Principal:
    """The principal of a token file's name."""
    if name == "admin":
        return Principal(operator=True)
    kind, _, rest = name.partition("-")
    return Principal(site=rest) if kind == "site" else Principal(user=rest)


class Gate:
    """Knows all tokens; compares digests, so that timing tells nothing."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._by_digest = {_digest(t): principal_of(n) for t, n in tokens.items()}

    def admit(self, request: Request) -> Principal:
        """Who asks. Raises ``DeniedError`` for a missing or unknown token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self._by_digest.get(_digest(token)) if scheme.lower() == "bearer" else None
        if known is None:
            raise DeniedError("unknown or missing token; give one as `Authorization: Bearer …`")
        return known


def _digest(token: str) -> bytes:
    return hmac.new(b"skep", token.encode(), hashlib.sha256).digest()

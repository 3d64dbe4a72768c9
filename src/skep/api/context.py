"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from skep.api.auth import Gate, Principal
from skep.control.loop import Loop
from skep.errors import ConflictError
from skep.store.bundles import BundleFolder
from skep.store.logs import LogFolder


@dataclass(frozen=True, slots=True)
class Context:
    """One control plane behind the API. ``live`` is false where only reading is possible."""

    loop: Loop
    logs: LogFolder
    bundles: BundleFolder
    gate: Gate | None
    live: bool = True

    def need_live(self) -> None:
        """Raises ``ConflictError`` where no control plane runs."""
        if not self.live:
            raise ConflictError("no control plane is running; start one with `skep up`")


def _context(request: Request) -> Context:
    return cast(Context, request.app.state.context)


def _principal(request: Request) -> Principal:
    gate = _context(request).gate
    return gate.admit(request) if gate is not None else Principal(operator=True)


Ctx = Annotated[Context, Depends(_context)]
Who = Annotated[Principal, Depends(_principal)]

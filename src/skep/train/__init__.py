"""The training library: a PyTorch loop plus two lines trains over many sites.

::

    import skep.train

    with skep.train.join(model, optimizer) as run:
        for batch in run.data(loader):
            ...  # forward, backward, optimizer.step()

See docs/guides/training.md. Imports nothing of skep but the run environment, units and errors.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skep.train.joining import join
    from skep.train.mllog import MLLog
    from skep.train.outer import Outer
    from skep.train.run import Run

__all__ = ["MLLog", "Outer", "Run", "join"]

_HOMES = {"MLLog": "mllog", "Outer": "outer", "Run": "run", "join": "joining"}


def __getattr__(name: str) -> Any:
    """Found when first used: a relay (``skep.train.relay``) needs no PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

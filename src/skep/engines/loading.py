"""Engines by name: the entry points of the group ``skep.engines``, so that others can add theirs.

An entry point names a callable that takes one ``Setting`` and answers an ``Engine``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from skep.engines.base import Engine
from skep.errors import InputError, nearest
from skep.model.site import Site

GROUP = "skep.engines"


@dataclass(frozen=True, slots=True)
class Setting:
    """What an engine gets to know: its site, a folder of its own, and how its jobs reach others.

    ``proxy``: ``host:port`` of an HTTP CONNECT proxy that jobs use to reach other sites; "" none.
    ``relay``: ``host:port`` of a relay where they meet sites that cannot be dialled; "" none.
    """

    site: Site
    folder: Path
    proxy: str = ""
    relay: str = ""


def names() -> tuple[str, ...]:
    """The engines that are installed."""
    return tuple(sorted(entry_points(group=GROUP).names))


def load(setting: Setting) -> Engine:
    """The engine that the site names. Raises ``InputError`` where no such engine is installed."""
    name = setting.site.engine
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = names()
        allowed = f"allowed: {', '.join(known)}{nearest(name, known)}"
        raise InputError(f"sites.{setting.site.name}.engine", name, allowed)
    engine: Engine = next(iter(found)).load()(setting)
    return engine

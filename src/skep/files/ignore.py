"""What of a folder is not sent along: ``.skepignore``, the common part of gitignore's rules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

ALWAYS = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "__pycache__",
        "node_modules",
        ".tox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
    }
)
"""Names that are never sent, at any depth."""

_TOKENS = re.compile(r"\*\*/|/\*\*$|\*\*|\*|\?|\[!?[^\]/]+\]|.", re.DOTALL)
_MEANING = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class _Pattern:
    match: re.Pattern[str]
    folders_only: bool
    keeps: bool


class Ignored:
    """Patterns of a ``.skepignore``, one a line; the last that matches a path decides.

    ``#`` begins a comment line; ``!`` takes back; a ``/`` at the end means folders; a ``/``
    elsewhere binds the pattern to the top folder; ``*``, ``?``, ``[…]`` and ``**`` as in gitignore.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        stripped = (line.strip() for line in lines)
        self._patterns = [_pattern(line) for line in stripped if line and line[0] != "#"]

    def __call__(self, path: str, *, folder: bool) -> bool:
        """Whether ``path``, relative with ``/``, is left out (and all below it)."""
        if path.rsplit("/", 1)[-1] in ALWAYS:
            return True
        for pattern in reversed(self._patterns):
            if (folder or not pattern.folders_only) and pattern.match.fullmatch(path):
                return not pattern.keeps
        return False


def _pattern(line: str) -> _Pattern:
    keeps, line = line.startswith("!"), line.removeprefix("!")
    folders_only, line = line.endswith("/"), line.removesuffix("/")
    bound = "/" in line
    text = "".join(_regex(token) for token in _TOKENS.findall(line.removeprefix("/")))
    return _Pattern(re.compile(text if bound else f"(?:.*/)?{text}"), folders_only, keeps)


def _regex(token: str) -> str:
    if token in _MEANING:
        return _MEANING[token]
    if token[0] == "[" and len(token) > 2:
        inside = token[1:-1]
        negated = inside.startswith("!")
        return f"[{'^' if negated else ''}{_set(inside.removeprefix('!'))}]"
    return re.escape(token)


def _set(text: str) -> str:
    return re.sub(r"[\\\[\]^&~|]", r"\\\g<0>", text)

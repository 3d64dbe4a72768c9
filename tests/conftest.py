"""For all tests: nothing of the terminal that they happen to run in."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as they like, as where the output is no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)

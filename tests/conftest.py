"""For all tests: nothing of the terminal that they happen to run in, and no deadlines.

A busy machine is no fault of what is tested: how long something takes is for the benchmarks.
"""

from __future__ import annotations

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "skep", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("skep")


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as they like, as where the output is no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)

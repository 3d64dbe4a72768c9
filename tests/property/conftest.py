"""How many examples: few in every run; ``SKEP_HYPOTHESIS=nightly`` (100,000) or a number."""

from __future__ import annotations

import os

import pytest
from hypothesis import is_hypothesis_test, settings

NIGHTLY = 100_000
WANTED = os.environ.get("SKEP_HYPOTHESIS", "")
EXAMPLES = NIGHTLY if WANTED == "nightly" else int(WANTED or 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each property its examples, and as long as they take."""
    for item in items if EXAMPLES else ():
        test = getattr(item, "function", None)
        if test is not None and is_hypothesis_test(test) and "property" in item.path.parts:
            few = test._hypothesis_internal_use_settings
            test._hypothesis_internal_use_settings = settings(few, max_examples=EXAMPLES)
            item.add_marker(pytest.mark.timeout(0))

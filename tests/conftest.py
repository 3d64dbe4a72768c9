"""For all tests: nothing of the terminal that they happen to run in, and no deadlines.

A busy machine is no fault of what is tested: how long something takes is for the benchmarks.
Properties take the same examples in every run, so that a change is judged by what it changed; new
ones are looked for with ``SKEP_HYPOTHESIS=nightly`` (100,000 of each property) or a number.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

NIGHTLY = 100_000
WANTED = os.environ.get("SKEP_HYPOTHESIS", "")
EXAMPLES = NIGHTLY if WANTED == "nightly" else int(WANTED or 0)

hypothesis.settings.register_profile(
    "skep",
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("skep")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each property its examples, and as long as they take."""
    for item in items if EXAMPLES else ():
        test = getattr(item, "function", None)
        if test is not None and hypothesis.is_hypothesis_test(test):
            few = test._hypothesis_internal_use_settings
            many = hypothesis.settings(few, max_examples=EXAMPLES)
            test._hypothesis_internal_use_settings = many
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as they like, as where the output is no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show in full why a test failed that then passed: it may be a bug that needs luck."""
    if first := terminalreporter.stats.get("rerun", []):
        terminalreporter.section("failed at first, run once more")
    for report in first:
        terminalreporter.line(report.nodeid)
        terminalreporter.line(report.longreprtext)

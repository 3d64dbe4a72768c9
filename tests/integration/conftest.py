"""Sites of ``skep.train`` for the tests of this folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import Party, Sites


@pytest.fixture
def party():
    """Sites as they are asked for, in this process; they leave at the end."""
    made = Party()
    yield made
    for exchange in reversed(made.made):
        exchange.stop()


@pytest.fixture
def make(tmp_path):
    """Sites as real processes, as they are asked for by their names; ended at the end."""
    made = []

    def sites(*names):
        made.append(Sites(tmp_path, *names))
        return made[-1]

    yield sites
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def virtual():
    """The sites of the benchmarks: the product's own code on a virtual clock."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks/sites"))
    import virtual

    yield virtual
    sys.path.pop(0)

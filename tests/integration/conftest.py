"""Sites of ``skep.train`` for the tests of this folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from train_sites import Party


@pytest.fixture
def party():
    """Sites as they are asked for, in this process; they leave at the end."""
    made = Party()
    yield made
    for exchange in reversed(made.made):
        exchange.stop()

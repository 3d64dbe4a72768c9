"""The training library: a PyTorch loop plus two lines trains over many sites.

::

    import skep.train

    with skep.train.join(model, optimizer) as run:
        for batch in run.data(loader):
            ...  # forward, backward, optimizer.step()

See docs/guides/training.md. Imports nothing of skep but the run environment, units and errors.
"""

from skep.train.joining import join
from skep.train.outer import Outer
from skep.train.run import Run

__all__ = ["Outer", "Run", "join"]

"""``join``: the two lines in a user's loop."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from skep.errors import InputError
from skep.runenv import from_environ
from skep.train.choice import AUTO
from skep.train.mllog import MLLog
from skep.train.outer import Outer
from skep.train.ranks import Ranks
from skep.train.run import Run
from skep.train.settings import OnEvent, settings


def join(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    site: str | None = None,
    listen: str | None = None,
    peers: Mapping[str, str] | None = None,
    relay: str | None = None,
    token: str | None = None,
    plain: str = "",
    interval: float | None = None,
    interval_steps: int | None = None,
    outer: Outer | None = None,
    codec: str = AUTO,
    fragments: int | None = None,
    overlap: bool = True,
    grace: float | None = None,
    start_wait: float = 30.0,
    finish_wait: float | None = None,
    sharded: bool = False,
    lengthen: bool = False,
    average_last: float | None = None,
    streams: int | None = None,
    trace: str = "",
    tensorboard: str = "",
    mllog: MLLog | None = None,
    on_event: OnEvent | None = None,
) -> Run:
    """A context manager in which ``optimizer.step()`` also keeps ``model`` in step with the sites.

    Everything comes from the run environment (``skep.runenv``); an argument wins over it. Without
    peers and without an address to listen on it only measures. Raises ``InputError``.

    ``peers`` maps site names to "host:port", ``listen`` is this site's own, ``relay`` where sites
    meet that cannot be dialled, ``token`` the secret that all share. Links are encrypted unless
    ``plain`` says why they need not be (at all sites alike). ``interval`` (seconds) or
    ``interval_steps`` (local steps) fix the time between rounds, which is otherwise chosen from the
    measured link. ``outer`` fixes the outer learning rate and momentum. ``fragments`` is how many
    pieces of the model are exchanged in turn.
    ``overlap=False`` waits for each round instead of training on. ``grace``
    (seconds) is how long a round waits for everyone, otherwise derived from observed arrivals.
    ``sharded`` says that each rank holds parameters of its own (tensor or pipeline parallelism by
    hand); what ``fully_shard`` has sharded is known without it. ``lengthen`` makes Adam's steps as
    long as on the batches of all sites, in place of momentum (``stride``). ``average_last`` is the
    share of the rounds of which the model that comes out is the average (``late``): 0.03, or 0
    where ``outer`` is set. ``streams`` is how many connections carry the data to each peer that
    this site dials (1: that of the calls), otherwise chosen by what the link carries. ``trace`` is
    a file for Chrome's trace viewer, ``tensorboard`` a folder for its event files, ``mllog`` says
    what a log of MLPerf needs and where to write it.
    ``start_wait`` (seconds) is how long the first start waits for all peers, ``finish_wait`` the
    end for a common last round, otherwise derived from the link and what is still to come.
    ``on_event`` is called with one line of text, from a background thread.
    """
    ranks = Ranks()
    try:
        env = from_environ(os.environ)
    except ValueError as error:
        raise InputError("run environment", str(error), "see docs/guides/training.md") from error
    chosen = settings(
        env,
        ranks.world,
        site=site,
        listen=listen,
        peers=peers,
        relay=relay,
        token=token,
        plain=plain,
        interval=interval,
        interval_steps=interval_steps,
        outer=outer,
        codec=codec,
        fragments=fragments,
        overlap=overlap,
        grace=grace,
        start_wait=start_wait,
        finish_wait=finish_wait,
        sharded=sharded,
        lengthen=lengthen,
        average_last=average_last,
        streams=streams,
        trace=trace,
        tensorboard=tensorboard,
        mllog=mllog,
        on_event=on_event,
    )
    return Run(model, optimizer, chosen, ranks)

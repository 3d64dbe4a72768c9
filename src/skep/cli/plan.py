"""``skep plan``: how fast, how long, how much, and how many of which chips match a system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skep.cli import planoptions as opt
from skep.cli.catalogue import Chips
from skep.cli.options import AsJson, Home, Server
from skep.errors import InputError
from skep.planner.goodput import RATES

if TYPE_CHECKING:
    from skep.cli.plansaid import Said


def plan(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A YAML file, a config.json, or a name such as llama-3-70b; or `calibrate`.",
        ),
    ],
    runs: Annotated[
        Path | None, typer.Argument(metavar="[RUNS]", help="calibrate: measured runs, CSV.")
    ] = None,
    on: opt.On = None,
    pool: opt.InPool = None,
    match: opt.Match = None,
    against: opt.With = None,
    serve: opt.Serve = False,
    seq_len: opt.SeqLen = None,
    batch: opt.Batch = None,
    dtype: opt.Dtype = None,
    tokens: opt.Tokens = None,
    prompt: opt.Prompt = 2000,
    answer: opt.Answer = 500,
    ttft: opt.Ttft = None,
    tpot: opt.Tpot = None,
    precision: opt.Precision = None,
    sites: opt.Sites = 1,
    link: opt.LinkRate = None,
    rtt: opt.Rtt = "30ms",
    interval: opt.Interval = 100,
    bits: opt.Bits = 8.0,
    overlap: opt.Overlap = False,
    pue: opt.Pue = 1.2,
    price: opt.Price = None,
    carbon: opt.Carbon = None,
    place: opt.Place = None,
    failures: opt.Failures = RATES[1] * 1e3,
    restart: opt.Restart = "10m",
    top: opt.Top = 5,
    plot: opt.Plot = None,
    own: Chips = None,
    layout: opt.Fixed = None,
    stack: opt.Stack = None,
    calibration: opt.Calibration = None,
    learned: opt.Learned = None,
    server: Server = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Plan a training or a serving, or match another system.

    The best layout, and what it takes in time, power and price. Answers carry a band that held
    80 % of the measured runs that were left out of the fit. What is not published of a chip is
    filled with a range and said.
    """
    from skep.cli import planning, plansaid

    if model == "calibrate":
        from skep.cli.calibrating import calibrate

        calibrate(runs, own, as_json)
        return
    if runs is not None:
        raise InputError("RUNS", str(runs), "allowed: only after `skep plan calibrate`")
    said = plansaid.Said(
        sites, link, rtt, interval, bits, overlap, pue, price, carbon, place, failures, restart
    )
    changes = {
        "seq_len": seq_len,
        "global_batch": batch,
        "dtype": dtype,
        "tokens": plansaid.count("--tokens", tokens),
    }
    only = plansaid.fixed(layout)
    ask = planning.Ask(
        model=planning.read_model(model, changes),
        under=plansaid.conditions(said),
        chips=planning.load_chips(own),
        load=planning.Load(
            prompt, answer, plansaid.limit("--ttft", ttft), plansaid.limit("--tpot", tpot)
        ),
        precision=precision,
        serve=serve,
        top=top,
        runs=() if learned is False else planning.measured(server, home, bool(learned)),
        tools=planning.tools(calibration, stack, only),
        only=only,
        exact=batch is not None,
    )
    _check(on, pool, match, against)
    _check_sites(serve, pool, said)
    if on is not None:
        shown = planning.plan_on(ask, on)
    elif pool is not None:
        shown = planning.plan_pool(ask, pool, match)
    else:
        assert match is not None
        shown = planning.plan_match(ask, match, against or [])
    planning.present(shown, plot, as_json)


def _check(on: str | None, pool: Path | None, match: str | None, against: list[str] | None) -> None:
    given = [str(one) for one in (on, pool, match) if one is not None]
    if len(given) != 1 and not (on is None and len(given) == 2):
        allowed = "allowed: one of --on CHIPS, --pool FILE, and --match CHIPS --with KIND"
        raise InputError("--on", " and ".join(given) or None, allowed)
    if match is not None and pool is None and not against:
        raise InputError("--with", None, "allowed: chip kinds to match it with (required)")
    if (match is None or pool is not None) and against:
        allowed = "allowed: only together with --match, and not with --pool"
        raise InputError("--with", ", ".join(against), allowed)


def _check_sites(serve: bool, pool: Path | None, said: Said) -> None:
    if serve and said.sites > 1:
        allowed = "allowed: 1 with --serve (sites serve by themselves)"
        raise InputError("--sites", said.sites, allowed)
    if pool is None:
        return
    if serve:
        raise InputError("--pool", str(pool), "allowed: without --serve (sites serve alone)")
    for option, value in (
        ("--sites", said.sites if said.sites > 1 else None),
        ("--link", said.link),
    ):
        if value is not None:
            raise InputError(option, value, "allowed: without --pool (the file has its own)")

"""The figures of a run, in one dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skep.train import accounting
from skep.train.exchange import Exchange
from skep.train.fragments import digest_of
from skep.train.meter import Meter
from skep.train.outer import OuterState
from skep.train.pacing import Pacer
from skep.train.parts import Local
from skep.train.tally import Tally


def stats_of(
    meter: Meter,
    pacer: Pacer | None,
    exchange: Exchange | None,
    traffic: tuple[int, int],
    states: Sequence[OuterState],
    global_tokens: int,
    tally: Tally,
) -> dict[str, Any]:
    """Counts of this site, and over all sites as far as they have reported.

    ``traffic``: bytes sent and received by all ranks of the site.
    ``bytes_per_token`` is what all sites really sent per token of all sites;
    ``ddp_bytes_per_token`` what plain data parallelism would send (``skep.train.accounting``).
    """
    peers = exchange.last_reports() if exchange is not None else []
    chosen = exchange.chosen if exchange is not None else None
    own_sent, _ = traffic
    per_step = [meter.tokens_per_step or 0.0, *(local.tokens_per_step for local in peers)]
    sent = [own_sent, *(local.sent for local in peers)]
    return {
        "steps": meter.steps,
        "tokens": meter.tokens,
        "global_tokens": global_tokens,
        "round": rounds_of(states),
        "fragments": len(states),
        "digest": digest_of(states),
        "exchange_s": round(meter.exchange_s, 3),
        "bytes_sent": own_sent,
        "bytes_per_token": round(accounting.bytes_per_token(sent, global_tokens), 2),
        "ddp_bytes_per_token": round(_plain(states, per_step), 2),
        "bytes_received": traffic[1],
        "bytes_relayed": exchange.relayed if exchange is not None else 0,
        "bytes_forwarded": exchange.forwarded if exchange is not None else 0,
        "ways": exchange.ways if exchange is not None else {},
        "streams": exchange.lanes if exchange is not None else {},
        "tokens_per_s": round(meter.rate, 1),
        "staleness_s": tally.staleness_s,
        "participation": tally.participation(),
        "codec": chosen.codec if chosen is not None else None,
        "interval_s": round(chosen.interval_s, 3) if chosen is not None else None,
        "chosen_because": dict(chosen.why) if chosen is not None else {},
        "gain": exchange.gain if exchange is not None else None,
        "step_s": meter.step_s,
        "paced_step_s": pacer.step_s if pacer is not None else None,
        "steps_over_pace": round(pacer.over_share, 4) if pacer is not None else None,
        "pace_lost_s": round(pacer.lost_s, 3) if pacer is not None else None,
    }


def line_of(meter: Meter, traffic: tuple[int, int]) -> dict[str, Any]:
    """What each line of the progress file says about this site; bytes sent and received."""
    sent, received = traffic
    return {
        "step": meter.steps,
        "tokens": meter.tokens,
        "tokens_per_s": round(meter.rate, 1),
        "exchange_s": round(meter.exchange_s, 3),
        "bytes_sent": sent,
        "bytes_received": received,
    }


def seen_of(exchange: Exchange | None, tally: Tally) -> dict[str, Any]:
    """For curves: what is not in each line of the progress file."""
    return {
        "gain": exchange.gain if exchange is not None else None,
        "staleness_s": tally.staleness_s,
        "participation": tally.participation(),
        "peers_tokens_per_s": exchange.peer_rates() if exchange is not None else {},
    }


def local_of(meter: Meter, sent: int, finishing: bool, hungry: bool) -> Local:
    """What the other sites are told of this one; ``sent`` bytes."""
    return Local(
        rate=meter.rate,
        step_s=meter.step_s or 0.0,
        steps=meter.steps,
        tokens_per_step=meter.tokens_per_step or 0.0,
        sent=sent,
        finishing=finishing,
        hungry=hungry,
    )


def rounds_of(states: Sequence[OuterState]) -> int:
    """How often the whole model has been exchanged."""
    return sum(state.round for state in states) // max(len(states), 1)


def _plain(states: Sequence[OuterState], per_step: list[float]) -> float:
    parameters = sum(state.anchor.numel() for state in states)
    return accounting.data_parallel_bytes_per_token(parameters, per_step)

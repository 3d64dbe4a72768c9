"""Bytes per token, exactly: what plain data parallelism would send, and what was sent."""

from __future__ import annotations

from collections.abc import Iterable


def ring_bytes_per_step(parameters: int, sites: int, bytes_per_value: int = 4) -> int:
    """Bytes that all sites together send in one ring all-reduce of the gradients.

    A ring over ``n`` sites moves each of ``n`` parts ``2 (n - 1)`` times (reduce-scatter, then
    all-gather), so together ``2 (n - 1)`` times the vector. Payload only: no headers, and one
    sender per site (ranks of a site reduce inside the site first), the cheapest plain way.
    """
    return 2 * max(sites - 1, 0) * parameters * bytes_per_value


def data_parallel_bytes_per_token(
    parameters: int, tokens_per_step: Iterable[float], bytes_per_value: int = 4
) -> float:
    """Bytes per trained token of data parallelism over sites that do so many tokens per step."""
    rates = list(tokens_per_step)
    total = sum(rates)
    return ring_bytes_per_step(parameters, len(rates), bytes_per_value) / total if total else 0.0


def bytes_per_token(sent: Iterable[int], tokens: int) -> float:
    """Wire bytes that all sites sent, per token that all sites trained; 0 before the first."""
    return sum(sent) / tokens if tokens else 0.0

"""Low-communication training: bytes over the wide area, against plain data parallelism.

Payload only, no headers; one sender per site (its ranks reduce inside the site first).
"""

from __future__ import annotations

from skep.errors import InputError


def ring_bytes(parameters: int, sites: int, bytes_per_value: float = 4.0) -> float:
    """Bytes that all sites together send in one ring all-reduce of ``parameters`` values.

    A ring over n sites moves each of n parts 2 (n - 1) times: reduce-scatter, then all-gather
    (Patarasuk and Yuan, 2009: no all-reduce sends less). One site sends a share of 1/n of it.
    """
    return 2.0 * (sites - 1) * parameters * bytes_per_value if sites > 1 else 0.0


def mesh_bytes(parameters: int, sites: int, bytes_per_value: float = 4.0) -> float:
    """Bytes that all sites together send where each sends all values to every other site."""
    return float(sites * (sites - 1)) * parameters * bytes_per_value


def data_parallel_bytes_per_token(
    parameters: int, sites: int, tokens_per_step: float, bytes_per_value: float = 4.0
) -> float:
    """Bytes that all sites send per token that all sites train, with an all-reduce each step."""
    return _per(ring_bytes(parameters, sites, bytes_per_value), tokens_per_step, 1)


def lowcomm_bytes_per_token(
    parameters: int,
    sites: int,
    tokens_per_step: float,
    interval: int,
    bytes_per_value: float = 4.0,
) -> float:
    """The same where sites average once in ``interval`` steps (ring, every value once).

    Sending the parameters in fragments at different steps changes the peak, not this mean.
    """
    return _per(ring_bytes(parameters, sites, bytes_per_value), tokens_per_step, interval)


def _per(sent: float, tokens_per_step: float, interval: int) -> float:
    if not tokens_per_step > 0:
        raise InputError("tokens_per_step", tokens_per_step, "allowed: more than 0")
    if interval < 1:
        raise InputError("interval", interval, "allowed: 1 or more steps")
    return sent / (tokens_per_step * interval)

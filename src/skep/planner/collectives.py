"""Time of collective operations: bytes over the narrowest link on the way, and latency.

A ring over n members moves (n - 1)/n of the bytes past each member (Patarasuk and Yuan, 2009). A
group that spans scale-up domains gets the NICs of all its members in a domain, not one NIC.
"""

from __future__ import annotations

import numpy as np

from skep.planner.machine import Machine, Real

Bool = Real


def members(size: Real, stride: Real, on: Machine) -> Real:
    """Members of a group of ``size`` that share a domain, neighbours ``stride`` chips apart."""
    return np.minimum(size, np.maximum(on.domain / stride, 1.0))


def bandwidth(size: Real, stride: Real, on: Machine) -> Real:
    """bytes/s past each member: scale-up within a domain, else the NICs of its members there."""
    near = members(size, stride, on)
    out = np.minimum(on.scale_up, near * on.scale_out)
    return np.where(near >= size, on.scale_up, out)


def latency(size: Real, stride: Real, on: Machine) -> Real:
    """s that one collective costs however small: per doubling within and across domains."""
    near = members(size, stride, on)
    across = np.log2(np.maximum(size / near, 1.0))
    return np.where(size > 1, on.latency_up * (1.0 + np.log2(near)) + on.latency_out * across, 0.0)


HOP_UP, HOP_OUT = 3.4e-6, 14e-6
"""s per hop of a ring, over the scale-up fabric and over a NIC (NCCL's own figures for its plain
protocol, src/graph/tuning.cc)."""
NEAR = 8  # hops of a ring inside a domain: larger domains have switches that reduce by themselves


def ring_latency(size: Real, stride: Real, on: Machine) -> Real:
    """s that one all-gather or reduce-scatter costs however small: a ring passes every member."""
    near = members(size, stride, on)
    domains = size / near
    return domains * (np.minimum(near, NEAR) - 1.0) * HOP_UP + (domains - 1.0) * HOP_OUT


def gather(size_bytes: Real, size: Real, stride: Real, on: Machine) -> Real:
    """s of an all-gather or a reduce-scatter of ``size_bytes`` in all.

    Over D domains with r members in each: (r-1)/r of the bytes reach a member from its domain,
    (D-1)/D of them enter each domain over its r NICs meanwhile; the slower of both counts.
    """
    near = members(size, stride, on)
    domains = size / near
    inside = (1.0 - 1.0 / near) / on.scale_up
    outside = (1.0 - 1.0 / domains) / (near * on.scale_out)
    return size_bytes * np.maximum(inside, outside) + latency(size, stride, on)


def reduce_all(size_bytes: Real, size: Real, stride: Real, on: Machine) -> Real:
    """s of an all-reduce: a reduce-scatter, then an all-gather."""
    return 2.0 * gather(size_bytes, size, stride, on)


def exchange(size_bytes: Real, size: Real, stride: Real, topk: Real, on: Machine) -> Real:
    """s of an all-to-all where each member sends ``size_bytes`` in all, ``topk`` copies per token.

    Within a domain (n-1)/n of them move over scale-up. Across D domains a token is sent once to
    each domain that needs it: (D-1)(1-(1-1/D)^topk) of topk copies leave over the NIC.
    """
    near = members(size, stride, on)
    domains = np.maximum(size / near, 1.0)
    inside = size_bytes * (1.0 - 1.0 / size) / on.scale_up
    copies = (domains - 1.0) * (1.0 - (1.0 - 1.0 / domains) ** np.maximum(topk, 1.0))
    outside = size_bytes * copies / np.maximum(topk, 1.0) / on.exchange
    return np.where(size > 1, np.maximum(inside, outside) + latency(size, stride, on), 0.0)


def pass_on(size_bytes: Real, stride: Real, on: Machine) -> Real:
    """s to hand ``size_bytes`` to the neighbour ``stride`` chips away."""
    far = stride >= on.domain
    return size_bytes / np.where(far, on.scale_out, on.scale_up) + np.where(
        far, on.latency_out, on.latency_up
    )

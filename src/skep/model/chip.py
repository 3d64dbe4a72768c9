"""A chip: one kind of accelerator, with peak rates, memory and power."""

from __future__ import annotations

from pydantic import Field

from skep.model.base import Bytes, FlopPerSecond, Name, Spec, Watts


class Chip(Spec):
    """A kind of accelerator. ``None`` means not published, never zero.

    ``peak_flops`` is dense bf16 (or fp16, or the best that the chip has); ``held_to`` is set where
    skep itself holds each chip to a fixed speed (the virtual chips of an embedded pool).
    """

    kind: Name
    vendor: str = ""
    peak_flops: FlopPerSecond | None = Field(default=None, description="dense bf16 FLOP/s")
    memory: Bytes | None = Field(default=None, description="bytes of memory of one chip")
    memory_bandwidth: float | None = Field(default=None, ge=0, description="bytes/s")
    idle_power: Watts = Field(default=0.0, description="W of one chip with its share of the node")
    busy_power: Watts = Field(default=0.0, description="W of one chip with its share, at work")
    held_to: FlopPerSecond | None = Field(
        default=None, description="each chip is held to this speed (FLOP/s)"
    )
    source: str = ""
    confidence: str = Field(default="", description="A vendor, B press or estimate, C weak")

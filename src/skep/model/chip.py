"""A chip: one kind of accelerator, with peak rates, memory, links, power and price."""

from __future__ import annotations

from pydantic import Field

from skep.model.base import BitsPerSecond, Bytes, FlopPerSecond, Name, Spec, Watts

FORMATS = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4")
"""Number formats that a chip may have a peak rate for."""


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
    fp8_flops: FlopPerSecond | None = Field(default=None, description="dense fp8 FLOP/s")
    fp4_flops: FlopPerSecond | None = Field(default=None, description="dense fp4 FLOP/s")
    int8_ops: FlopPerSecond | None = Field(default=None, description="dense int8 operations/s")
    scale_up_bandwidth: float | None = Field(
        default=None, ge=0, description="bytes/s of one chip into its block, one way"
    )
    scale_up_size: int | None = Field(default=None, ge=1, description="chips of one block")
    nic: BitsPerSecond | None = Field(
        default=None, description="bit/s of one chip to other blocks, one way"
    )
    chip_power: Watts | None = Field(default=None, description="W of the chip alone, its TDP")
    price_low: float | None = Field(default=None, ge=0, description="USD of one chip, lowest told")
    price_high: float | None = Field(default=None, ge=0, description="USD, highest told")
    name: str = ""
    year: int | None = Field(default=None, ge=1970, le=2100, description="of the first delivery")
    status: str = Field(default="", description="available, announced, rent-only, …")
    source: str = ""
    confidence: str = Field(default="", description="A vendor, B press or estimate, C weak")

    def peak(self, number_format: str) -> float | None:
        """Dense operations/s in ``number_format`` (one of ``FORMATS``); ``None`` if not known."""
        match number_format:
            case "fp8":
                return self.fp8_flops
            case "fp4":
                return self.fp4_flops
            case "int8":
                return self.int8_ops
            case "bf16" | "fp16":
                return self.peak_flops
        return None

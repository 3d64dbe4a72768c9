"""Facts: values of the catalogue, each with where it comes from."""

from __future__ import annotations

from skep.model.base import Name, Spec


class Fact(Spec):
    """One value with its unit, source, date and confidence.

    ``confidence``: A the vendor or two sources, B press or estimate, C weak or an assumption.
    """

    name: str
    value: str
    unit: str = ""
    source: str
    date: str
    confidence: str

    @property
    def number(self) -> float | None:
        """The value as a number; ``None`` where it is text."""
        try:
            return float(self.value)
        except ValueError:
            return None


class System(Spec):
    """A system: so many chips of one kind as they are sold or stand. ``None`` is not published."""

    system: Name
    name: str
    kind: str  # a chip kind of the catalogue; "mixed" for several
    owner: str = ""
    year: int | None = None
    status: str = ""
    chips: int | None = None
    bf16_flops: float | None = None
    memory: float | None = None  # bytes
    power: float | None = None  # W of the whole system
    power_basis: str = ""
    cabinets: float | None = None
    floor: float | None = None  # m2
    price: float | None = None  # USD
    confidence: str = ""

    def per_chip(self, value: float | None) -> float | None:
        """``value`` of the whole system for one of its chips; ``None`` if either is unknown."""
        return value / self.chips if value is not None and self.chips else None

"""Worth: chips of any kind counted in chips of a reference, by the work that one job gets of them.

The reference is the pool's fastest kind for a job that names no model. A hundred weak chips are so
counted as the few strong ones that would do the job's work; for another job they may be worth more.
"""

from __future__ import annotations

from collections.abc import Sequence

from skep.model.snapshot import Floats, Ints, Rates


class Worth:
    """What one chip of each kind is worth to a job."""

    def __init__(self, kinds: Sequence[str], speed: Floats) -> None:
        """``speed`` (FLOP/s) of each of ``kinds`` for a job that names no model."""
        known = dict(zip(kinds, speed.tolist(), strict=True))
        self.reference = max(known, key=lambda kind: (known[kind], kind), default="")
        fastest = known.get(self.reference, 0.0)
        self._usual = {kind: (s / fastest if s > 0 else 1.0) for kind, s in known.items()}
        self._for: dict[Rates, dict[str, float]] = {(): self._usual}

    def of(self, kind: str, rates: Rates = ()) -> float:
        """Chips of the reference that do for the job what one of ``kind`` does.

        Where the job's rate is not known, as for a job that names no model; without that, 1.
        """
        if rates not in self._for:
            known = dict(rates)
            one = known.get(self.reference, 0.0)
            own = {k: rate / one for k, rate in known.items() if rate > 0} if one > 0 else {}
            self._for[rates] = {**self._usual, **own}
        return self._for[rates].get(kind, 1.0)

    def amount(self, chips: Ints, kinds: Sequence[str]) -> float:
        """The worth of ``chips`` of each of ``kinds`` to jobs that name no model."""
        each = self._usual
        return float(
            sum(c * each[kind] for c, kind in zip(chips.tolist(), kinds, strict=True) if c)
        )

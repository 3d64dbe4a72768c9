"""Plans in words and with the digits that their accuracy deserves."""

from __future__ import annotations

from skep.planner.layout import Layout

_SI = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


RECOMPUTED = {"selective": "scores", "alternate": "every other layer", "full": "all layers"}

_TIMES = (("years", 3.156e7), ("days", 86400.0), ("h", 3600.0), ("min", 60.0))
_MS = ("ms", 1e-3)


def layout_words(at: Layout) -> str:
    """``tp 8, pp 16 x 4, dp 128, …`` with everything that is not 1 or off."""
    parts = [f"tp {at.tp}"]
    if at.pp > 1:
        parts.append(f"pp {at.pp}" + (f" x {at.virtual} virtual" if at.virtual > 1 else ""))
    parts += [f"cp {at.cp}"] if at.cp > 1 else []
    parts += [f"ep {at.ep}"] if at.ep > 1 else []
    parts.append(f"dp {at.dp}")
    parts += ["uneven stages"] if at.uneven else []
    parts.append(f"micro-batch {at.micro_batch}")
    parts += [f"ZeRO-{at.zero}"] if at.zero else []
    parts += [f"{RECOMPUTED[at.recompute]} recomputed"] if at.recompute != "none" else []
    parts += ["optimizer offloaded"] if at.offload_optimizer else []
    parts += ["activations offloaded"] if at.offload_activations else []
    parts += ["parameters offloaded"] if at.offload_parameters else []
    return ", ".join(parts)


def digits(value: float, count: int = 3) -> str:
    """``value`` with ``count`` significant digits, thousands apart, no exponent."""
    if value == 0:
        return "0"
    short = float(f"{value:.{count}g}")
    return f"{short:,.0f}" if abs(short) >= 10 ** (count - 1) else f"{short:.{count}g}"


def amount(value: float, unit: str, count: int = 3) -> str:
    """With an SI prefix: ``1.36 M tokens/s``, ``17.4 MW``: a unit of letters takes it close."""
    for prefix, scale in _SI:
        if abs(value) >= scale * 0.9995:
            close = "" if unit[:1] in ("W", "B", "b") else " "
            return f"{digits(value / scale, count)} {prefix}{close}{unit}"
    return f"{digits(value, count)} {unit}"


def span(low: float, high: float, unit: str, count: int = 2) -> str:
    """A range with one unit: ``131 to 180 days``."""
    text = amount(high, unit, count)
    first = amount(low, unit, count)
    number, _, own = first.partition(" ")
    return f"{number} to {text}" if text.endswith(f" {own}") else f"{first} to {text}"


def time_words(seconds: float) -> str:
    """s, min, h, days or years, three digits at most."""
    unit, scale = _time_unit(seconds)
    return f"{digits(seconds / scale)} {unit}"


def time_span(low: float, high: float) -> str:
    """A range of times in the unit of the longer: ``6.4 to 9.4 days``."""
    unit, scale = _time_unit(high)
    return f"{digits(low / scale)} to {digits(high / scale)} {unit}"


def _time_unit(seconds: float) -> tuple[str, float]:
    """The unit that people would say it in, and its s."""
    return next((u for u in _TIMES if seconds >= 2 * u[1]), ("s", 1.0) if seconds >= 1 else _MS)


def usd_words(low: float, high: float) -> str:
    """USD, or their range."""
    if f"{low:.2g}" == f"{high:.2g}":
        return amount(low, "USD", 2)
    return span(low, high, "USD")

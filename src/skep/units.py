"""Quantities as people write them, and as skep computes with them (SI base units).

``parse_*`` take a number (already in base units) or text such as ``"100 Mbit/s"`` and return a
float in base units; they raise ``ValueError`` whose text says what is allowed.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?$")
_SI = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|min|s|m|h|d)")


def _scaled(unit: str) -> dict[str, float]:
    return {prefix + unit: scale for prefix, scale in _SI.items()}


RATE = _scaled("bit/s") | {p + "bps": s for p, s in _SI.items()}
POWER = _scaled("W")
SPEED = _scaled("FLOP/s") | {p + "FLOPS": s for p, s in _SI.items()}
SIZE = _scaled("B") | {p + "B": s for p, s in _BINARY.items()}


def _parse(value: object, table: dict[str, float], what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"allowed: {what}")
    if isinstance(value, int | float):
        return _finite(float(value), what)
    match = _NUMBER.match(value)
    unit = (match.group(2) or "").strip() if match else ""
    if not match or (unit and unit not in table):
        raise ValueError(f"allowed: {what}")
    return _finite(float(match.group(1)) * table.get(unit, 1.0), what)


def _finite(number: float, what: str) -> float:
    if not 0 <= number < float("inf"):
        raise ValueError(f"allowed: {what}, zero or more and finite")
    return number


def parse_rate(value: object) -> float:
    """Bits per second from ``"100 Mbit/s"``."""
    return _parse(value, RATE, "a rate such as '100 Mbit/s'")


def parse_power(value: object) -> float:
    """Watts from ``"400 W"`` or ``"1.5 MW"``."""
    return _parse(value, POWER, "a power such as '400 W' or '1.5 MW'")


def parse_speed(value: object) -> float:
    """Floating-point operations per second from ``"4 GFLOP/s"``."""
    return _parse(value, SPEED, "a speed such as '4 GFLOP/s'")


def parse_size(value: object) -> float:
    """Bytes from ``"80 GB"`` or ``"64 GiB"``."""
    return _parse(value, SIZE, "a size such as '80 GB' or '64 GiB'")


def parse_duration(value: object) -> float:
    """Seconds from a number, ``"90s"``, ``"2h30m"``, ``"1d"`` or Slurm's ``[D-]HH:MM:SS``."""
    what = "a duration such as '90s', '2h30m' or '1-12:00:00'"
    if not isinstance(value, str):
        return _parse(value, {}, what)
    text = value.strip()
    if ":" in text or re.fullmatch(r"\d+-\d+", text):
        return _slurm_duration(text, what)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text).strip():
        raise ValueError(f"allowed: {what}")
    return sum(float(number) * _TIME[unit] for number, unit in _PART.findall(text))


def _slurm_duration(text: str, what: str) -> float:
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise ValueError(f"allowed: {what}")
    days, first, second, third = (int(g) if g else 0 for g in match.groups())
    if match.group(1) is not None or match.group(4) is not None:
        return float(days * 86400 + first * 3600 + second * 60 + third)
    return float(first * 60 + second)


def si(value: float, unit: str) -> str:
    """``value`` with an SI prefix, three digits: ``si(1.25e8, "bit/s")`` = 125 Mbit/s."""
    for prefix, scale in reversed(_SI.items()):
        if abs(value) >= scale and (value or not prefix):
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds as people read them: ``0.4 s``, ``42 s``, ``3m 20s``, ``2h 05m``, ``3d 04h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 172800:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"
